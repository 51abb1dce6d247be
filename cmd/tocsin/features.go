package main

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"tocsin/notifier/alertmanager"
	"tocsin/oncall"
)

// featureFlags are Alertmanager's, of every command that reads matchers.
type featureFlags struct {
	Features []string `name:"enable-feature" placeholder:"NAME" help:"Alertmanager's classic-mode or utf8-strict-mode, for matchers."`
}

// otherFeatures are the rest of Alertmanager's. None changes who is told of what: a command line that has them
// starts tocsin, and a warning says that they do nothing.
var otherFeatures = []string{"alert-names-in-metrics", "receiver-name-in-metrics", "group-key-in-metrics", "auto-gomemlimit", "event-recorder"}

// validateFeatures refuses features that tocsin does not know, and those that exclude each other.
func (f featureFlags) validateFeatures() error {
	known := []string{alertmanager.ClassicMode, alertmanager.UTF8StrictMode}
	for _, list := range f.Features {
		for name := range strings.SplitSeq(list, ",") {
			if name != "" && !slices.Contains(known, name) && !slices.Contains(otherFeatures, name) {
				return fmt.Errorf("--enable-feature: unknown feature %q; known: %s", name, strings.Join(known, ", "))
			}
		}
	}
	if f.hasFeature(known[0]) && f.hasFeature(known[1]) {
		return fmt.Errorf("--enable-feature: %s and %s exclude each other", known[0], known[1])
	}
	return nil
}

// hasFeature reports whether --enable-feature names the feature.
func (f featureFlags) hasFeature(name string) bool {
	return slices.ContainsFunc(f.Features, func(list string) bool { return slices.Contains(strings.Split(list, ","), name) })
}

// warnIgnored says which features were asked for and do nothing.
func (f featureFlags) warnIgnored(log *slog.Logger) {
	for _, name := range otherFeatures {
		if f.hasFeature(name) {
			log.Warn("This feature of Alertmanager does nothing in tocsin", "feature", name)
		}
	}
}

// matcherMode is how matchers are read.
func (f featureFlags) matcherMode() oncall.MatcherMode {
	switch {
	case f.hasFeature(alertmanager.ClassicMode):
		return oncall.MatchersClassic
	case f.hasFeature(alertmanager.UTF8StrictMode):
		return oncall.MatchersUTF8Strict
	}
	return oncall.MatchersFallback
}

// useFeatures has the configuration read with the features. It must come before anything is read. log is told
// where two ways of reading differ; nil: nobody is.
func (f featureFlags) useFeatures(log *slog.Logger) {
	switch f.matcherMode() {
	case oncall.MatchersClassic:
		alertmanager.UseMode(alertmanager.ClassicMode, log)
	case oncall.MatchersUTF8Strict:
		alertmanager.UseMode(alertmanager.UTF8StrictMode, log)
	default:
		alertmanager.UseMode("", log)
	}
}
