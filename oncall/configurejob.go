package oncall

import (
	"fmt"
	"time"

	"go.yaml.in/yaml/v3"

	"tocsin/problem"
)

type jobBlock struct {
	Name     problem.At[string] `yaml:"name"`
	Cron     problem.At[string] `yaml:"cron"`
	TimeZone problem.At[string] `yaml:"time_zone"`
	Drill    *yaml.Node         `yaml:"drill"`
	Digest   *yaml.Node         `yaml:"digest"`
}

type digestBlock struct {
	Slack  problem.At[string] `yaml:"slack"`
	Always problem.At[bool]   `yaml:"always"`
}

// ExplainKey refuses jobs of a later build, and knows what other systems call the same things.
func (jobBlock) ExplainKey(key string) (message, hint string) {
	switch key {
	case "load_test", "loadtest", "action", "run", "query":
		return fmt.Sprintf("jobs of the kind %q are not supported by this build yet", key), "a job here is a drill or a digest: drill: {users: all}, or digest: {slack: '#alerts'}"
	case "schedule", "every", "interval":
		return fmt.Sprintf("unknown key %q", key), `cron says when, such as cron: "0 10 1 * *"`
	}
	return "", ""
}

type drillBlock struct {
	Users      *yaml.Node         `yaml:"users"`
	OnCallNext problem.At[string] `yaml:"on_call_next"`
	Daytime    problem.At[bool]   `yaml:"daytime"`
}

// DecodeJobs decodes the jobs section, in order of the file. The refs are to users and schedules.
func DecodeJobs(d *problem.Document, n *yaml.Node) (jobs []problem.At[Job], refs []Ref, problems problem.List) {
	var nodes []*yaml.Node
	problems = d.Decode(n, &nodes)
	for _, node := range nodes {
		j, r, l := decodeJob(d, node)
		jobs, refs, problems = append(jobs, j), append(refs, r...), append(problems, l...)
	}
	return jobs, refs, append(problems, Unique("job", jobs, func(j Job) string { return j.Name })...)
}

func decodeJob(d *problem.Document, node *yaml.Node) (problem.At[Job], []Ref, problem.List) {
	var b jobBlock
	problems := d.Decode(node, &b)
	problems = append(problems, checkName(d.At(node), b.Name, "job")...)
	j := Job{Name: b.Name.Value, TimeZone: time.UTC}
	switch {
	case !b.Cron.IsSet():
		problems = append(problems, d.At(node).Errorf("the job %q has no cron", j.Name).WithHint(`when it runs, such as cron: "0 10 1 * *" for the first of each month at 10:00`))
	case b.Cron.IsValid():
		var err error
		if j.Cron, err = ParseCron(b.Cron.Value); err != nil {
			problems = append(problems, b.Cron.Place.Errorf("%v", err).WithHint("minute, hour, day of month, month, day of week"))
		} else if j.Cron.perDay() > 1 {
			problems = append(problems, b.Cron.Place.Errorf("%q is due more than once a day: a drill wakes people, and a digest is for reading", b.Cron.Value).
				WithHint("one minute and one hour, such as 0 10 1 * *"))
		}
	}
	if b.TimeZone.IsSet() {
		loc, err := time.LoadLocation(b.TimeZone.Value)
		if err != nil || b.TimeZone.Value == "" || b.TimeZone.Value == "Local" {
			problems = append(problems, b.TimeZone.Place.Errorf("unknown time zone %q", b.TimeZone.Value).WithHint("expected an IANA name such as Europe/Madrid"))
		} else {
			j.TimeZone = loc
		}
	}
	var refs []Ref
	var l problem.List
	const kinds = "drill: {users: all}, or digest: {slack: '#alerts'}"
	switch {
	case b.Drill != nil && b.Digest != nil:
		l = problem.List{d.At(node).Errorf("drill and digest exclude each other: a job is one of them").WithHint(kinds)}
	case b.Drill != nil:
		j.Drill, refs, l = decodeDrill(d, b.Drill)
	case b.Digest != nil:
		j.Digest, refs, l = decodeDigest(d, b.Digest)
	default:
		l = problem.List{d.At(node).Errorf("the job %q says nothing of what to do", j.Name).WithHint("add %s", kinds)}
	}
	return problem.At[Job]{Value: j, Place: b.Name.Place}, refs, append(problems, l...)
}

func decodeDigest(d *problem.Document, node *yaml.Node) (j *DigestJob, refs []Ref, problems problem.List) {
	var b digestBlock
	problems = d.Decode(node, &b)
	switch {
	case b.Slack.IsValid():
		problems = append(problems, checkChannel(b.Slack, "")...)
		refs = append(refs, Ref{string(TargetSlack), b.Slack.Value, b.Slack.Place})
	case len(problems.Errors()) == 0:
		problems = append(problems, d.At(node).Errorf("where is this digest posted?").WithHint("slack: and a channel, such as slack: '#session-alerts'"))
	}
	return &DigestJob{Slack: b.Slack.Value, Always: b.Always.Value}, refs, problems
}

func decodeDrill(d *problem.Document, node *yaml.Node) (j DrillJob, refs []Ref, problems problem.List) {
	var b drillBlock
	problems = d.Decode(node, &b)
	j.Daytime, j.OnCallNext = b.Daytime.Value, b.OnCallNext.Value
	const hint = "users: all, users: [ana, bo], or on_call_next: and a schedule"
	switch {
	case len(problems.Errors()) > 0:
	case b.Users != nil && b.OnCallNext.IsSet():
		problems = append(problems, d.At(node).Errorf("users and on_call_next exclude each other").WithHint(hint))
	case b.OnCallNext.IsSet():
		refs = append(refs, Ref{string(TargetSchedule), b.OnCallNext.Value, b.OnCallNext.Place})
	case b.Users == nil:
		problems = append(problems, d.At(node).Errorf("whom does this drill tell?").WithHint(hint))
	case b.Users.Kind == yaml.ScalarNode && b.Users.Value == "all":
		j.All = true
	default:
		var users []problem.At[string]
		problems = append(problems, d.Decode(b.Users, &users)...)
		if len(problems.Errors()) == 0 && len(users) == 0 {
			problems = append(problems, d.At(b.Users).Errorf("this drill names nobody").WithHint(hint))
		}
		for _, u := range users {
			j.Users = append(j.Users, u.Value)
			refs = append(refs, Ref{string(TargetUser), u.Value, u.Place})
		}
	}
	return j, refs, problems
}
