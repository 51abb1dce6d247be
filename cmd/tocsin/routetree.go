package main

import (
	"fmt"
	"io"

	"github.com/prometheus/prometheus/model/labels"

	"tocsin/oncall"
)

// branch is a route as it is printed.
type branch struct {
	text  string
	below []branch
}

// routeTree is a route and what is below it.
func routeTree(r *oncall.Route, below func(*oncall.Route) []*oncall.Route, text func(*oncall.Route) string) branch {
	b := branch{text: text(r)}
	for _, c := range below(r) {
		b.below = append(b.below, routeTree(c, below, text))
	}
	return b
}

// matchingTree is the routes that take an alert, the last ones with their receiver.
func matchingTree(root *oncall.Route, alert labels.Labels) branch {
	below := func(r *oncall.Route) []*oncall.Route {
		var taken []*oncall.Route
		for _, c := range r.Routes {
			if !matches(c, alert) {
				continue
			}
			taken = append(taken, c)
			if !c.Continue {
				break
			}
		}
		return taken
	}
	return routeTree(root, below, func(r *oncall.Route) string {
		text := matchersText(r)
		if len(below(r)) == 0 {
			text += "  receiver: " + r.Receiver
		}
		return text
	})
}

func matches(r *oncall.Route, alert labels.Labels) bool {
	for _, m := range r.Matchers {
		if !m.Matches(alert.Get(m.Name)) {
			return false
		}
	}
	return true
}

func matchersText(r *oncall.Route) string {
	if len(r.Matchers) == 0 {
		return "default-route"
	}
	return r.Matchers.String()
}

func routeText(r *oncall.Route, receiver bool) string {
	text := matchersText(r)
	if r.Continue {
		text += "  continue: true"
	}
	if receiver {
		text += "  receiver: " + r.Receiver
	}
	return text
}

// print writes the tree as amtool does.
func (b branch) print(w io.Writer) {
	fmt.Fprintln(w, ".")
	b.write(w, "", true)
	fmt.Fprintln(w)
}

func (b branch) write(w io.Writer, indent string, last bool) {
	edge, below := "├── ", "│   "
	if last {
		edge, below = "└── ", "    "
	}
	fmt.Fprintln(w, indent+edge+b.text)
	for i, c := range b.below {
		c.write(w, indent+below, i == len(b.below)-1)
	}
}
