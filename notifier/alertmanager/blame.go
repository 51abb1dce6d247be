package alertmanager

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// blameWork bounds the search for the place of an error that has none, in nodes given to the parser.
const blameWork = 5_000_000

// blame finds the smallest part of the tree without which the parser says something else: that is where an
// error comes from that does not say it. nil where it cannot be told.
func (t *tree) blame(message string, routed bool) *yaml.Node {
	work, each := 0, count(t.root)
	// says is what the parser says without some nodes.
	says := func(nodes ...*yaml.Node) string {
		if work += each; work > blameWork {
			return message
		}
		without := map[*yaml.Node]bool{}
		for _, n := range nodes {
			without[n] = true
		}
		if _, err := t.parse(routed, without); err != nil {
			return err.Error()
		}
		return ""
	}
	n := t.root
	var place *yaml.Node
	for {
		key, value := culprit(n, message, says)
		if key == nil {
			return place
		}
		n, place = followed(value), key
		if n.Kind == yaml.ScalarNode {
			return n
		}
	}
}

// culprit finds the part of a mapping or list without which the message is gone: at best without another
// message, since leaving out what is required is an error too.
func culprit(n *yaml.Node, message string, says func(...*yaml.Node) string) (place, value *yaml.Node) {
	parts, step := n.Content, 1
	if n.Kind == yaml.MappingNode {
		step = 2
	}
	for n.Kind == yaml.SequenceNode && len(parts) > 8 { // a long list: halve it
		half := parts[:len(parts)/2]
		if says(half...) == message {
			half = parts[len(parts)/2:]
		}
		parts = half
	}
	best := 0
	for i := 0; i+step-1 < len(parts); i += step {
		rank := 0
		switch said := says(parts[i]); {
		case said == "":
			return parts[i], parts[i+step-1]
		case said == message:
		case slices.ContainsFunc(complaints, func(c string) bool { return strings.Contains(said, c) }):
			rank = 1
		default:
			rank = 2
		}
		if rank > best {
			best, place, value = rank, parts[i], parts[i+step-1]
		}
	}
	return place, value
}

// complaints are what the parser says where something that it needs has been left out.
var complaints = []string{"missing name in", "no route", "undefined receiver", "undefined time interval", "must specify a default receiver"}
