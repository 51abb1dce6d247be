package alertmanager

import (
	"log/slog"
	"sync"

	"github.com/prometheus/alertmanager/featurecontrol"
	"github.com/prometheus/alertmanager/matcher/compat"
	"github.com/prometheus/common/promslog"
)

// The names of --enable-feature that choose how matchers and label names are read.
const (
	ClassicMode    = "classic-mode"
	UTF8StrictMode = "utf8-strict-mode"
)

// mode is the one in force. Alertmanager keeps it in variables of its own for the whole process.
var mode struct {
	sync.Mutex
	set  bool
	name string
}

// UseMode chooses how matchers and label names are read: ClassicMode, UTF8StrictMode, or "" for Alertmanager's
// default, which reads UTF-8 and falls back to classic. It is made once, before anything is decoded: the
// choice is the process'. Where the two readings differ, log says so.
func UseMode(name string, log *slog.Logger) {
	mode.Lock()
	defer mode.Unlock()
	if mode.set && mode.name == name {
		return
	}
	mode.set, mode.name = true, name
	if log == nil {
		log = promslog.NewNopLogger()
	}
	compat.InitFromFlags(log, modeFlags{mode: name})
}

// defaultMode is in force where nobody has chosen.
func defaultMode() {
	mode.Lock()
	set := mode.set
	mode.Unlock()
	if !set {
		UseMode("", nil)
	}
}

type modeFlags struct {
	featurecontrol.NoopFlags
	mode string
}

func (f modeFlags) ClassicMode() bool    { return f.mode == ClassicMode }
func (f modeFlags) UTF8StrictMode() bool { return f.mode == UTF8StrictMode }
