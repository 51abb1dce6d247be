package evaluator

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"
	texttemplate "text/template"
	"text/template/parse"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/template"
)

// templateDefs are the variables that Prometheus declares for every alert template.
const (
	templateDefs  = `{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}`
	templateNodes = 4 // of templateDefs
)

// templates are the templates of one plan, each text parsed once, however many rules and alerts have it.
//
// Prometheus' own expander parses at each expansion. What a text means is still Prometheus' word: the
// functions are its expander's; a text that asks a query, wants the time or defines templates of its own is
// left to it; and so is every expansion that fails, so that the message is its own too.
type templates struct {
	base     *url.URL
	external map[string]string
	url      string
	root     *texttemplate.Template // nil: the expander's functions cannot be had, it expands everything

	mu     sync.RWMutex
	byText map[string]*compiled // guarded by mu
}

// compiled is one text. It is safe for concurrent use.
type compiled struct {
	fast   *texttemplate.Template // nil: for Prometheus' expander
	stable bool                   // depends on nothing but labels that do not change
}

func newTemplates(p *Plan) *templates {
	base, err := url.Parse(p.ExternalURL)
	if err != nil {
		base = &url.URL{}
	}
	ts := &templates{base: base, external: p.ExternalLabels.Map(), url: p.ExternalURL, byText: map[string]*compiled{}}
	x := template.NewTemplateExpander(context.Background(), "", "", nil, 0, nil, base, nil)
	if funcs, ok := functionsOf(x); ok {
		ts.root = texttemplate.New("").Funcs(funcs).Option("missingkey=zero")
	}
	return ts
}

// functionsOf takes the functions out of an expander, which has no method for that. They are its own map, not
// a copy of ours that could come to mean something else; TestTemplatesAreParsedOnce fails if a version of
// Prometheus hides them better.
func functionsOf(x *template.Expander) (texttemplate.FuncMap, bool) {
	f := reflect.ValueOf(x).Elem().FieldByName("funcMap")
	if !f.IsValid() || f.Type() != reflect.TypeFor[texttemplate.FuncMap]() {
		return nil, false
	}
	return *(*texttemplate.FuncMap)(f.Addr().UnsafePointer()), true
}

// of returns the compiled text.
func (ts *templates) of(text string) *compiled {
	ts.mu.RLock()
	c := ts.byText[text]
	ts.mu.RUnlock()
	if c != nil {
		return c
	}
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if c := ts.byText[text]; c != nil {
		return c
	}
	c = ts.compile(text)
	ts.byText[text] = c
	return c
}

func (ts *templates) compile(text string) *compiled {
	if ts.root == nil {
		return &compiled{}
	}
	// Apart from the others at first: what it defines must not be seen by them.
	funcs, ok := functionsOf(template.NewTemplateExpander(context.Background(), "", "", nil, 0, nil, ts.base, nil))
	if !ok {
		return &compiled{}
	}
	t, err := texttemplate.New(text).Funcs(funcs).Parse(templateDefs + text)
	if err != nil || len(t.Templates()) != 1 || t.Tree == nil {
		return &compiled{}
	}
	use := use{}
	for _, n := range t.Root.Nodes[templateNodes:] {
		use.node(n)
	}
	if use.moment {
		return &compiled{}
	}
	fast, err := ts.root.AddParseTree(text, t.Tree)
	if err != nil {
		return &compiled{}
	}
	return &compiled{fast: fast, stable: !use.value}
}

// expansion is what one expansion needs beside the text.
type expansion struct {
	ctx    context.Context
	name   string // appears in messages about failing templates, as it does in Prometheus
	metric map[string]string
	value  float64
	// histogram is what the template sees as the value where it is not nil.
	histogram *histogram.FloatHistogram
	at        model.Time
	query     template.QueryFunc
}

// expand returns text with its templates expanded, or Prometheus' words for a template that fails.
func (ts *templates) expand(text string, x expansion) string {
	if !strings.Contains(text, "{{") {
		return text
	}
	sample := promql.Sample{F: x.value}
	if x.histogram != nil {
		sample.H = x.histogram.Copy() // others have it too, and a template may call what changes it
	}
	data := template.AlertTemplateData(x.metric, ts.external, ts.url, sample)
	if c := ts.of(text); c.fast != nil {
		if out, ok := c.execute(data); ok {
			return out
		}
	}
	t := template.NewTemplateExpander(x.ctx, templateDefs+text, x.name, data, x.at, x.query, ts.base, nil)
	out, err := t.Expand()
	if err != nil {
		return fmt.Sprintf("<error expanding template: %s>", err)
	}
	return out
}

var templateBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// execute is false where the template fails, or panics.
func (c *compiled) execute(data any) (out string, ok bool) {
	buf := templateBuffers.Get().(*bytes.Buffer)
	defer func() {
		if recover() != nil {
			out, ok = "", false
			return // the buffer may still be in use
		}
		buf.Reset()
		templateBuffers.Put(buf)
	}()
	if err := c.fast.Execute(buf, data); err != nil {
		return "", false
	}
	return buf.String(), true
}

// use is what a template's text depends on beside the labels.
type use struct {
	value  bool // the sample's value, or what cannot be told from it
	moment bool // the time, or a query's answer, or another template
}

func (u *use) node(n parse.Node) {
	switch n := n.(type) {
	case nil, *parse.TextNode, *parse.CommentNode, *parse.BoolNode, *parse.NilNode, *parse.NumberNode, *parse.StringNode, *parse.BreakNode, *parse.ContinueNode:
	case *parse.ListNode:
		u.list(n)
	case *parse.ActionNode:
		u.pipe(n.Pipe)
	case *parse.PipeNode:
		u.pipe(n)
	case *parse.IfNode:
		u.branch(&n.BranchNode)
	case *parse.RangeNode:
		u.branch(&n.BranchNode)
	case *parse.WithNode:
		u.branch(&n.BranchNode)
	case *parse.ChainNode:
		u.node(n.Node)
	case *parse.IdentifierNode:
		// title keeps state of its own (a cases.Caser), and what is parsed once runs in many goroutines.
		u.moment = u.moment || n.Ident == "query" || n.Ident == "now" || n.Ident == "title"
	case *parse.FieldNode:
		u.value = u.value || !constant(n.Ident[0])
	case *parse.VariableNode:
		u.variable(n.Ident)
	case *parse.DotNode:
		u.value = true // it may be all there is
	default:
		u.moment = true // {{template}}, and what later versions of Go may bring
	}
}

func (u *use) variable(ident []string) {
	switch {
	case ident[0] == "$value":
		u.value = true
	case ident[0] == "$":
		u.value = u.value || len(ident) == 1 || !constant(ident[1])
	}
}

// constant reports the fields of a template's data that stay while a series and the configuration do.
func constant(field string) bool {
	return field == "Labels" || field == "ExternalLabels" || field == "ExternalURL"
}

func (u *use) list(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		u.node(n)
	}
}

func (u *use) pipe(p *parse.PipeNode) {
	if p == nil {
		return
	}
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			u.node(arg)
		}
	}
}

func (u *use) branch(b *parse.BranchNode) {
	u.pipe(b.Pipe)
	u.list(b.List)
	u.list(b.ElseList)
}
