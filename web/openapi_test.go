package web

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// document is openapi.yaml, decoded.
type document map[string]any

func loadDocument(t *testing.T) document {
	t.Helper()
	b, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var d map[string]any
	if err := yaml.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// resolve follows $ref.
func (d document) resolve(v any) map[string]any {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	ref, ok := m["$ref"].(string)
	if !ok {
		return m
	}
	var at any = map[string]any(d)
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		at = at.(map[string]any)[part]
	}
	return d.resolve(at)
}

// fields collects the properties and the required names of a schema and of its allOf, and whether others
// are allowed.
func (d document) fields(schema map[string]any) (properties map[string]any, required []string, others any) {
	properties = map[string]any{}
	for _, part := range asList(schema["allOf"]) {
		p, r, _ := d.fields(d.resolve(part))
		maps.Copy(properties, p)
		required = append(required, r...)
	}
	if p, ok := schema["properties"].(map[string]any); ok {
		maps.Copy(properties, p)
	}
	for _, r := range asList(schema["required"]) {
		required = append(required, r.(string))
	}
	others = schema["additionalProperties"]
	if u, ok := schema["unevaluatedProperties"]; ok {
		others = u
	}
	return properties, required, others
}

func asList(v any) []any {
	l, _ := v.([]any)
	return l
}

// violations checks v against a schema: types, fields, enums.
func (d document) violations(at string, schema map[string]any, v any) []string {
	var bad []string
	if enum := asList(schema["enum"]); enum != nil && !slices.Contains(enum, v) {
		bad = append(bad, fmt.Sprintf("%s: %v is not among %v", at, v, enum))
	}
	if c, ok := schema["const"]; ok && c != v {
		bad = append(bad, fmt.Sprintf("%s: %v is not %v", at, v, c))
	}
	types := asList(schema["type"])
	if s, ok := schema["type"].(string); ok {
		types = []any{s}
	}
	if kind := jsonType(v); types != nil && !slices.Contains(types, any(kind)) {
		return append(bad, fmt.Sprintf("%s: is %s, documented as %v", at, kind, types))
	}
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			bad = append(bad, d.violations(fmt.Sprintf("%s[%d]", at, i), d.resolve(schema["items"]), e)...)
		}
	case map[string]any:
		properties, required, others := d.fields(schema)
		for _, r := range required {
			if _, ok := v[r]; !ok {
				bad = append(bad, at+": lacks "+r)
			}
		}
		for name, e := range v {
			switch sub, ok := properties[name]; {
			case ok:
				bad = append(bad, d.violations(at+"."+name, d.resolve(sub), e)...)
			case others == false:
				bad = append(bad, at+": undocumented field "+name)
			default:
				if s := d.resolve(others); s != nil {
					bad = append(bad, d.violations(at+"."+name, s, e)...)
				}
			}
		}
	}
	return bad
}

func jsonType(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case string:
		return "string"
	case bool:
		return "boolean"
	case []any:
		return "array"
	case float64:
		if v == float64(int64(v)) {
			return "integer"
		}
		return "number"
	}
	return "object"
}

// operations lists "METHOD path" of the document.
func (d document) operations() []string {
	var ops []string
	for path, item := range d["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			if method != "parameters" {
				ops = append(ops, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(ops)
	return ops
}

func TestEveryRouteIsDocumentedAndViceVersa(t *testing.T) {
	w := site(t, newMemory(), nil)
	var routes []string
	for _, r := range w.apiRoutes() {
		routes = append(routes, r.method+" "+r.path)
	}
	slices.Sort(routes)
	if documented := loadDocument(t).operations(); !slices.Equal(documented, routes) {
		t.Errorf("openapi.yaml has\n%s\nthe handlers have\n%s", strings.Join(documented, "\n"), strings.Join(routes, "\n"))
	}
}

// TestResponsesAreAsDocumented walks over the API and checks each answer, status and body, against the
// operation's schema. Every operation must be visited with a success.
func TestResponsesAreAsDocumented(t *testing.T) {
	d := loadDocument(t)
	m := newMemory()
	h := site(t, m, func(o *Options) {
		o.Alertmanager, o.Openings, o.Overrides = &Alertmanager{Store: &board{}}, &openings{m: m}, &rota{m: m}
		o.Heartbeats, o.Endpoints, o.Drills = &heartbeats{}, &outbox{}, drilling{}
	}).Handler()
	base := apiBase + "/incidents"
	walk := []struct {
		op, target, body string
		status           int
	}{
		{"GET " + base, base, "", 200},
		{"GET " + base, base + "?state=open&state=resolved&limit=1&before=42", "", 200},
		{"GET " + base, base + "?state=nonsense", "", 400},
		{"GET " + apiBase + "/heartbeats", apiBase + "/heartbeats", "", 200},
		{"POST " + base, base, `{"user":"bo","title":"The queue is stuck","page":"ana"}`, 201},
		{"POST " + base, base, `{"title":"The queue is stuck","escalation":"default","severity":"warning","details":"since noon"}`, 200},
		{"POST " + base, base, `{"title":"The queue is stuck"}`, 400},
		{"POST " + base, base, `{"title":"The queue is stuck","escalation":"defalt"}`, 400},
		{"POST " + base, base, `{"title":"taken","escalation":"default"}`, 409},
		{"GET " + base + "/{number}", base + "/42", "", 200},
		{"GET " + base + "/{number}", base + "/%2342", "", 200},
		{"GET " + base + "/{number}", base + "/7", "", 404},
		{"GET " + base + "/{number}", base + "/seven", "", 400},
		{"GET " + base + "/{number}/why", base + "/42/why", "", 200},
		{"GET " + base + "/{number}/why", base + "/7/why", "", 404},
		{"POST " + base + "/{number}/note", base + "/42/note", `{"user":"bo","text":"looking"}`, 200},
		{"POST " + base + "/{number}/note", base + "/42/note", `{"text":" "}`, 400},
		{"POST " + base + "/{number}/escalate", base + "/42/escalate", `{"round":0,"tier":0}`, 200},
		{"POST " + base + "/{number}/escalate", base + "/42/escalate", `{"round":0,"tier":0}`, 409},
		{"POST " + base + "/{number}/assign", base + "/42/assign", `{"assignee":"bo"}`, 200},
		{"POST " + base + "/{number}/add", base + "/42/add", `{"responder":"ana"}`, 200},
		{"POST " + base + "/{number}/merge", base + "/41/merge", `{"into":42}`, 200},
		{"POST " + base + "/{number}/snooze", base + "/42/snooze", `{"for":"30m"}`, 200},
		{"POST " + base + "/{number}/acknowledge", base + "/42/acknowledge", `{"user":"ana"}`, 200},
		{"POST " + base + "/{number}/acknowledge", base + "/42/acknowledge", "", 200},
		{"POST " + base + "/{number}/acknowledge", base + "/42/acknowledge", `{"usr":"ana"}`, 400},
		{"POST " + base + "/{number}/unacknowledge", base + "/42/unacknowledge", "", 200},
		{"POST " + base + "/{number}/silence", base + "/42/silence", `{"user":"ana","duration":"2h","comment":"deploy"}`, 200},
		{"POST " + base + "/{number}/silence", base + "/42/silence", `{"until":"2999-01-01T00:00:00Z","comment":"deploy"}`, 400},
		{"POST " + base + "/{number}/silence", base + "/42/silence", `{"duration":"2h"}`, 400},
		{"POST " + base + "/{number}/silence", base + "/42/silence", `{"comment":"deploy"}`, 400},
		{"POST " + base + "/{number}/silence", base + "/42/silence", `{"duration":"every monday","comment":"deploy"}`, 400},
		{"POST " + base + "/{number}/silence", base + "/7/silence", `{"duration":"2h","comment":"deploy"}`, 404},
		{"POST " + base + "/{number}/resolve", base + "/42/resolve", "", 200},
		{"POST " + base + "/{number}/acknowledge", base + "/42/acknowledge", "", 409},
		{"GET " + base + "/{number}", base + "/42", "", 200},
		{"GET " + apiBase + "/notifications", apiBase + "/notifications?receiver=one&group_key=k&limit=2&before=9", "", 200},
		{"GET " + apiBase + "/notifications", apiBase + "/notifications?before=x", "", 400},
		{"GET " + apiBase + "/notifications", apiBase + "/notifications?team=x", "", 400},
		{"GET " + apiBase + "/deliveries", apiBase + "/deliveries?incident=%2342&endpoint=page:phone/0&state=queued,refused&state=delivered&limit=3&before=msg_old", "", 200},
		{"GET " + apiBase + "/deliveries", apiBase + "/deliveries?state=lost", "", 400},
		{"GET " + apiBase + "/deliveries", apiBase + "/deliveries?before=msg_none", "", 400},
		{"GET " + apiBase + "/deliveries", apiBase + "/deliveries?team=x", "", 400},
		{"GET " + apiBase + "/deliveries/{key}", apiBase + "/deliveries/msg_old", "", 200},
		{"GET " + apiBase + "/deliveries/{key}", apiBase + "/deliveries/msg_none", "", 404},
		{"POST " + apiBase + "/deliveries/{key}/resend", apiBase + "/deliveries/msg_old/resend", `{"user":"ana"}`, 200},
		{"POST " + apiBase + "/deliveries/{key}/resend", apiBase + "/deliveries/msg_queued/resend", "", 409},
		{"POST " + apiBase + "/deliveries/{key}/resend", apiBase + "/deliveries/msg_none/resend", "", 404},
		{"POST " + apiBase + "/deliveries/{key}/resend", apiBase + "/deliveries/msg_old/resend", `{"usr":"ana"}`, 400},
		{"GET " + apiBase + "/endpoints", apiBase + "/endpoints", "", 200},
		{"POST " + apiBase + "/receivers/{name}/test", apiBase + "/receivers/phone/test", `{"user":"ana","note":"does it ring?"}`, 200},
		{"POST " + apiBase + "/receivers/{name}/test", apiBase + "/receivers/fone/test", "", 404},
		{"POST " + apiBase + "/receivers/{name}/test", apiBase + "/receivers/phone/test", `{"note":7}`, 400},
		{"POST " + apiBase + "/drills", apiBase + "/drills", `{"user":"bo","users":["ana"],"daytime":false}`, 200},
		{"POST " + apiBase + "/drills", apiBase + "/drills", `{"users":["anna"]}`, 400},
		{"POST " + apiBase + "/drills", apiBase + "/drills", `{"users":"ana"}`, 400},
		{"GET " + apiBase + "/drills", apiBase + "/drills?limit=1&before=99", "", 200},
		{"GET " + apiBase + "/drills", apiBase + "/drills?limit=x", "", 400},
		{"GET " + apiBase + "/drills/{number}", apiBase + "/drills/42", "", 200},
		{"GET " + apiBase + "/drills/{number}", apiBase + "/drills/7", "", 404},
		{"GET " + apiBase + "/drills/{number}", apiBase + "/drills/seven", "", 400},
		{"GET " + apiBase + "/contacts", apiBase + "/contacts", "", 200},
		{"GET " + apiBase + "/schedules", apiBase + "/schedules", "", 200},
		{"GET " + apiBase + "/schedules/{name}", apiBase + "/schedules/primary?from=2024-09-23&to=2024-10-23T09:00", "", 200},
		{"GET " + apiBase + "/schedules/{name}", apiBase + "/schedules/primary?to=2024-09-01", "", 400},
		{"GET " + apiBase + "/schedules/{name}", apiBase + "/schedules/primary?form=2024-09-01", "", 400},
		{"GET " + apiBase + "/schedules/{name}", apiBase + "/schedules/primry", "", 404},
		{"GET " + apiBase + "/schedules/{name}/coverage", apiBase + "/schedules/primary/coverage?from=2024-09-23", "", 200},
		{"GET " + apiBase + "/schedules/{name}/coverage", apiBase + "/schedules/primary/coverage?from=soon", "", 400},
		{"GET " + apiBase + "/oncall", apiBase + "/oncall", "", 200},
		{"GET " + apiBase + "/oncall", apiBase + "/oncall?at=2000-01-01&schedule=primary", "", 200},
		{"GET " + apiBase + "/oncall", apiBase + "/oncall?at=later", "", 400},
		{"GET " + apiBase + "/oncall", apiBase + "/oncall?schedule=x", "", 404},
		{"GET " + apiBase + "/calendar", apiBase + "/calendar?user=ana", "", 200},
		{"GET " + apiBase + "/calendar", apiBase + "/calendar", "", 400},
		{"GET " + apiBase + "/calendar", apiBase + "/calendar?schedule=x", "", 404},
		{"DELETE " + apiBase + "/calendar", apiBase + "/calendar?schedule=primary", "", 200},
		{"DELETE " + apiBase + "/calendar", apiBase + "/calendar?user=nobody", "", 404},
		{"POST " + apiBase + "/overrides", apiBase + "/overrides", `{"user":"bo","schedule":"primary","who":"ana","from":"2098-12-30T10:00","for":"2h","reason":"dentist"}`, 201},
		{"POST " + apiBase + "/overrides", apiBase + "/overrides", `{"schedule":"primary","who":"bo","for":"2h"}`, 400},
		{"POST " + apiBase + "/overrides", apiBase + "/overrides", `{"schedule":"primary","who":"ana","for":"every day"}`, 400},
		{"POST " + apiBase + "/overrides", apiBase + "/overrides", `{"schedule":"primary","kind":"remove","who":"cy","from":"2099-01-06","to":"2099-01-07"}`, 409},
		{"POST " + apiBase + "/swaps", apiBase + "/swaps", `{"schedule":"primary","who":"ana","at":"2998-12-30","with":"cy","with_at":"2999-01-05"}`, 400},
		{"POST " + apiBase + "/swaps", apiBase + "/swaps", `{"schedule":"primary","who":"cy","at":"2098-12-29","with":"ana","with_at":"2099-01-05"}`, 201},
		{"GET " + apiBase + "/overrides", apiBase + "/overrides?schedule=primary&all=true", "", 200},
		{"GET " + apiBase + "/schedules/{name}", apiBase + "/schedules/primary", "", 200},
		{"DELETE " + apiBase + "/overrides/{id}", apiBase + "/overrides/o1", `{"user":"ana"}`, 200},
		{"DELETE " + apiBase + "/overrides/{id}", apiBase + "/overrides/o1", `{"user":"ana"}`, 409},
		{"DELETE " + apiBase + "/overrides/{id}", apiBase + "/overrides/o99", "", 404},
		{"GET " + apiBase + "/openapi.yaml", apiBase + "/openapi.yaml", "", 200},
	}
	visited := map[string]bool{}
	for _, step := range walk {
		method, path, _ := strings.Cut(step.op, " ")
		rec := ask(h, method, step.target, step.body)
		if rec.Code != step.status {
			t.Fatalf("%s %s %s: %d, want %d: %s", method, step.target, step.body, rec.Code, step.status, rec.Body)
		}
		visited[step.op] = visited[step.op] || rec.Code/100 == 2
		for _, bad := range d.answer(method, path, rec.Code, rec.Header().Get("Content-Type"), rec.Body.Bytes()) {
			t.Errorf("%s %s: %s", method, step.target, bad)
		}
	}
	for _, op := range d.operations() {
		if !visited[op] {
			t.Errorf("the walk does not visit %s", op)
		}
	}
}

// answer checks one answer against the document.
func (d document) answer(method, path string, status int, contentType string, body []byte) []string {
	op := d["paths"].(map[string]any)[path].(map[string]any)[strings.ToLower(method)].(map[string]any)
	response := d.resolve(op["responses"].(map[string]any)[fmt.Sprint(status)])
	if response == nil {
		return []string{fmt.Sprintf("status %d is not documented", status)}
	}
	media, ok := response["content"].(map[string]any)[contentType].(map[string]any)
	if !ok {
		return []string{"the content type " + contentType + " is not documented"}
	}
	schema := d.resolve(media["schema"])
	if schema == nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(body, &v); err != nil {
		return []string{err.Error()}
	}
	return d.violations("body", schema, v)
}
