package alertmanager

import (
	"strings"

	"tocsin/problem"
)

// templatesOfReceivers warns of texts that are no valid templates. Alertmanager finds out when it sends.
func (t *tree) templatesOfReceivers(c *Config) problem.List {
	set, _, err := newTexts(c.config.Templates)
	if err != nil {
		return nil // said already
	}
	var problems problem.List
	warn := func(path []any, text string) {
		if !strings.Contains(text, "{{") {
			return
		}
		if _, err := set.parse(text); err != nil {
			n := t.node(path...)
			if n.Value != text {
				return // a default, or a text in an anchor's merge
			}
			problems = append(problems, t.doc.At(n).Warnf("the template does not parse: %s", t.withoutSecret(n, templateError(err))).
				WithHint("what is sent there would not look as it should, and say so"))
		}
	}
	for i := range c.config.Receivers {
		for _, list := range integrationLists {
			rewrite(listOf(&c.config.Receivers[i], list), []any{"receivers", i, list}, func(path []any, s string) string {
				warn(path, s)
				return s
			})
		}
	}
	t.routeLabels([]any{"route"}, warn)
	return problems
}

// routeLabels calls warn for the labels of a route and its children, which are templates.
func (t *tree) routeLabels(path []any, warn func(path []any, text string)) {
	n := t.node(path...)
	if n == t.root {
		return // there is no route
	}
	if labels := followed(child(n, "labels")); labels != nil {
		for i := 0; i+1 < len(labels.Content); i += 2 {
			warn(append(path[:len(path):len(path)], "labels", labels.Content[i].Value), labels.Content[i+1].Value)
		}
	}
	for i := range items(child(n, "routes")) {
		t.routeLabels(append(path[:len(path):len(path)], "routes", i), warn)
	}
}

// templateError is an error of a template in people's words: without the names that Go gives it.
func templateError(err error) string {
	return goNames.Replace(strings.TrimPrefix(err.Error(), "template: "))
}

var goNames = strings.NewReplacer("html/template: :", "line ", "template: :", "line ", `executing "" at `, "at ", " in type *template.Data", "")
