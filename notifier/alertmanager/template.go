package alertmanager

import (
	"errors"
	"fmt"
	"html/template"
	"strings"
	"sync"
	texttemplate "text/template"
	"text/template/parse"
	"time"

	amtemplate "github.com/prometheus/alertmanager/template"
)

// Templates are programs that users write, and neither of Go's template packages can be stopped. So before
// Alertmanager renders a text, it is rendered here: with a step counted in each round of a loop and at each
// call of a template, and into a bounded buffer. What does not come to an end here is not given to
// Alertmanager at all.

// The bounds of rendering one text.
const (
	maxSteps  = 300_000
	maxDepth  = 200
	maxOutput = 1 << 20
	maxRender = 5 * time.Second
)

var (
	errSteps  = fmt.Errorf("the template does not come to an end within %d steps", maxSteps)
	errDepth  = fmt.Errorf("the template calls itself more than %d times deep", maxDepth)
	errOutput = fmt.Errorf("the template writes more than %d bytes", maxOutput)
	errRender = fmt.Errorf("the template does not come to an end within %s", maxRender)
)

// texts renders texts with a set of templates, within bounds. What is rendered comes from the configuration, so
// what it keeps of each text is bounded.
type texts struct {
	set *texttemplate.Template

	mu    sync.Mutex // guards pools
	pools map[string]*sync.Pool
}

// compiled is a text that one goroutine at a time can render.
type compiled struct {
	*texttemplate.Template
	watch *watch
}

// The functions that instrumented templates call. Their names cannot be written in a template by accident.
const (
	stepFunc  = "tocsin__step"
	enterFunc = "tocsin__enter"
	leaveFunc = "tocsin__leave"
)

func idle() string { return "" }

// newTexts reads the template files, as Alertmanager does. It returns Alertmanager's own set too.
func newTexts(globs []string) (*texts, *amtemplate.Template, error) {
	var set *texttemplate.Template
	theirs, err := amtemplate.FromGlobs(globs, func(text *texttemplate.Template, _ *template.Template) { set = text })
	if err != nil {
		return nil, nil, err
	}
	own, err := set.Clone()
	if err != nil {
		return nil, nil, err
	}
	own.Funcs(texttemplate.FuncMap{stepFunc: idle, enterFunc: idle, leaveFunc: idle})
	for _, t := range own.Templates() {
		if t.Tree == nil || t.Root == nil {
			continue
		}
		tree := t.Tree.Copy() // the nodes of a clone are shared
		watchTree(tree)
		if _, err := own.AddParseTree(t.Name(), tree); err != nil {
			return nil, nil, err
		}
	}
	return &texts{set: own, pools: map[string]*sync.Pool{}}, theirs, nil
}

// parse reads a text as Alertmanager would.
func (t *texts) parse(text string) (*texttemplate.Template, error) {
	set, err := t.set.Clone()
	if err != nil {
		return nil, err
	}
	before := map[string]*parse.Tree{}
	for _, d := range set.Templates() {
		before[d.Name()] = d.Tree
	}
	parsed, err := set.New("").Option("missingkey=zero").Parse(text)
	if err != nil {
		return nil, err
	}
	for _, d := range parsed.Templates() {
		if d.Tree != nil && d.Root != nil && before[d.Name()] != d.Tree { // the text itself, and what it defines
			watchTree(d.Tree)
		}
	}
	return parsed, nil
}

// render renders a text. labels are the route's, rendered.
func (t *texts) render(text string, data any, labels map[string]string) (string, error) {
	return t.renderWith(text, data, func(name string) string { return labels[name] })
}

// renderWith is render with a function that knows the route's labels.
func (t *texts) renderWith(text string, data any, label func(name string) string) (string, error) {
	if !strings.Contains(text, "{{") {
		return text, nil
	}
	pool := t.pool(text)
	c, err := t.compile(pool, text)
	if err != nil {
		return "", err
	}
	defer pool.Put(c)
	*c.watch = watch{until: time.Now().Add(maxRender), label: label}
	err = c.Execute(c.watch, data)
	out := c.watch.out.String()
	c.watch.out, c.watch.label = strings.Builder{}, nil
	for _, bound := range []error{errSteps, errDepth, errOutput, errRender} {
		if errors.Is(err, bound) {
			return "", bound
		}
	}
	return out, err
}

func (t *texts) pool(text string) *sync.Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pools[text] == nil {
		t.pools[text] = &sync.Pool{}
	}
	return t.pools[text]
}

// compile takes a text from its pool, or parses it. Functions belong to a template, so each has a watch of its own.
func (t *texts) compile(pool *sync.Pool, text string) (*compiled, error) {
	if c, ok := pool.Get().(*compiled); ok {
		return c, nil
	}
	parsed, err := t.parse(text)
	if err != nil {
		return nil, err
	}
	w := &watch{}
	parsed.Funcs(texttemplate.FuncMap{stepFunc: w.step, enterFunc: w.enter, leaveFunc: w.leave,
		"routeLabels": func(name string) string { return w.label(name) }})
	return &compiled{parsed, w}, nil
}

// watch is one rendering under way.
type watch struct {
	out   strings.Builder
	until time.Time
	steps int
	depth int
	label func(name string) string // of the route
}

func (w *watch) Write(b []byte) (int, error) {
	if w.out.Len()+len(b) > maxOutput {
		return 0, errOutput
	}
	return w.out.Write(b)
}

func (w *watch) step() (string, error) {
	if w.steps++; w.steps > maxSteps {
		return "", errSteps
	}
	if w.steps%1024 == 0 && time.Now().After(w.until) {
		return "", errRender
	}
	return "", nil
}

func (w *watch) enter() (string, error) {
	if w.depth++; w.depth > maxDepth {
		return "", errDepth
	}
	return w.step()
}

func (w *watch) leave() string {
	w.depth--
	return ""
}

// watchTree makes a template call enter and leave, and step in each round of its loops.
func watchTree(t *parse.Tree) {
	watchList(t.Root)
	t.Root.Nodes = append(append([]parse.Node{call(enterFunc)}, t.Root.Nodes...), call(leaveFunc))
}

func watchList(l *parse.ListNode) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			watchList(n.List)
			watchList(n.ElseList)
			n.List.Nodes = append([]parse.Node{call(stepFunc)}, n.List.Nodes...)
		case *parse.IfNode:
			watchList(n.List)
			watchList(n.ElseList)
		case *parse.WithNode:
			watchList(n.List)
			watchList(n.ElseList)
		}
	}
}

// call is the node of {{name}}.
func call(name string) parse.Node {
	trees, err := parse.Parse("watch", "{{"+name+"}}", "", "", map[string]any{name: idle})
	if err != nil {
		panic(err) // the text is ours
	}
	return trees["watch"].Root.Nodes[0]
}
