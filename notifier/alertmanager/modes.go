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

var defaultMode = sync.OnceFunc(func() {
	compat.InitFromFlags(promslog.NewNopLogger(), featurecontrol.NoopFlags{})
})

// UseMode chooses how matchers and label names are read: ClassicMode, UTF8StrictMode, or "" for Alertmanager's
// default, which reads UTF-8 and falls back to classic. Alertmanager keeps the choice for the whole process,
// so it is made once, before anything is decoded. Where the two readings differ, log says so.
func UseMode(mode string, log *slog.Logger) {
	defaultMode() // never again
	if log == nil {
		log = promslog.NewNopLogger()
	}
	compat.InitFromFlags(log, modeFlags{mode: mode})
}

type modeFlags struct {
	featurecontrol.NoopFlags
	mode string
}

func (f modeFlags) ClassicMode() bool    { return f.mode == ClassicMode }
func (f modeFlags) UTF8StrictMode() bool { return f.mode == UTF8StrictMode }
