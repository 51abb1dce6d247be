package demo

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"text/template"
	"time"

	"github.com/prometheus/common/model"
)

//go:embed tocsin.yml.tmpl
var configTemplate string

//go:embed rules.yml.tmpl
var rulesTemplate string

// secrets are made anew for every demo. They are written to files of the demo's directory and to nothing
// else.
type secrets struct {
	slackBot     string
	slackSigning string
	phones       map[string]string // by user
}

// makeSecrets draws the secrets. crypto/rand never fails since Go 1.24.
func makeSecrets() secrets {
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b)
		return b
	}
	s := secrets{
		slackBot:     "xoxb-demo-" + hex.EncodeToString(random(12)),
		slackSigning: hex.EncodeToString(random(16)),
		phones:       map[string]string{},
	}
	for _, p := range people {
		s.phones[p.name] = "whsec_" + base64.StdEncoding.EncodeToString(random(32))
	}
	return s
}

// writeFiles writes tocsin.yml, the rule file and the secrets into dir, and returns the path of
// tocsin.yml. pageURL ends in a slash.
func writeFiles(dir, pageURL string, speed float64, s secrets) (string, error) {
	if err := os.Mkdir(filepath.Join(dir, "secrets"), 0o700); err != nil {
		return "", err
	}
	files := map[string]string{
		"secrets/slack-bot":     s.slackBot,
		"secrets/slack-signing": s.slackSigning,
	}
	for user, secret := range s.phones {
		files["secrets/"+user+"-phone"] = secret
	}
	for name, text := range map[string]string{"tocsin.yml": configTemplate, "rules.yml": rulesTemplate} {
		out, err := expand(name, text, pageURL, speed)
		if err != nil {
			return "", err
		}
		files[name] = out
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	return filepath.Join(dir, "tocsin.yml"), nil
}

// expand fills a template. Its actions stand in << >>, since {{ }} is what alerts are written with: d gives a story duration as it must stand in the file, seconds the same as a
// number of real seconds.
func expand(name, text, pageURL string, speed float64) (string, error) {
	parse := func(s string) (time.Duration, error) {
		d, err := model.ParseDuration(s)
		return time.Duration(d), err
	}
	funcs := template.FuncMap{
		"d": func(s string) (string, error) {
			d, err := parse(s)
			return promDuration(d, speed), err
		},
		"seconds": func(s string) (string, error) {
			d, err := parse(s)
			return strconv.FormatFloat(d.Seconds()/speed, 'f', -1, 64), err
		},
	}
	t, err := template.New(name).Delims("<<", ">>").Funcs(funcs).Parse(text)
	if err != nil {
		return "", fmt.Errorf("the demo's %s: %w", name, err)
	}
	var out bytes.Buffer
	data := struct {
		PageURL, Speed, Ana, Bo string
	}{pageURL, strconv.FormatFloat(speed, 'f', -1, 64), people[0].slack, people[1].slack}
	if err := t.Execute(&out, data); err != nil {
		return "", fmt.Errorf("the demo's %s: %w", name, err)
	}
	return out.String(), nil
}
