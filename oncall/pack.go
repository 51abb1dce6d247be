package oncall

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// How received alerts, active alerts and the alerts of a notification are written down: compactly, because
// each of them passes here for every alert that is posted. The first byte is the version of the format;
// numbers are varints, strings have their length before them, instants are microseconds relative to a first
// one. A store treats the result as opaque.

const packVersion = 1

var errPacked = errors.New("not a packed record, or one that was cut off")

// PackReceived writes a row of the log down, without its Seq.
func PackReceived(r Received) []byte {
	size := 64
	for i := range r.Posted {
		p := &r.Posted[i]
		size += int(p.Labels.ByteSize()) + int(p.Annotations.ByteSize()) + len(p.GeneratorURL) + 24
	}
	w := packer{b: make([]byte, 0, size), base: r.At.UnixMicro()}
	w.b = append(w.b, packVersion)
	w.b = binary.AppendVarint(w.b, w.base)
	w.uint(uint64(len(r.Posted)))
	for i := range r.Posted {
		p := &r.Posted[i]
		w.labels(p.Labels)
		w.labels(p.Annotations)
		w.string(p.GeneratorURL)
		w.instant(p.StartsAt.UnixMicro())
		w.instant(p.EndsAt.UnixMicro())
		w.bool(p.Timeout)
	}
	w.json(r.Changes, len(r.Changes) == 0)
	return w.b
}

// UnpackReceived reads what PackReceived wrote. It refuses anything else with an error.
func UnpackReceived(b []byte) (Received, error) {
	r, err := newUnpacker(b)
	if err != nil {
		return Received{}, err
	}
	out := Received{At: micros(r.base)}
	n := r.count(6)
	if n > 0 {
		out.Posted = make([]PostedAlert, n)
	}
	for i := range out.Posted {
		p := &out.Posted[i]
		p.Labels, p.Annotations = r.labels(), r.labels()
		p.GeneratorURL = strings.Clone(r.string())
		p.StartsAt, p.EndsAt = micros(r.instant()), micros(r.instant())
		p.Timeout = r.bool()
	}
	r.json(&out.Changes)
	return out, r.end()
}

// PackAlert writes an active alert down.
func PackAlert(a *ActiveAlert) []byte {
	w := packer{base: a.UpdatedAt}
	w.b = make([]byte, 0, int(a.Labels.ByteSize())+int(a.Annotations.ByteSize())+len(a.GeneratorURL)+64)
	w.b = append(w.b, packVersion)
	w.b = binary.AppendVarint(w.b, w.base)
	w.b = binary.LittleEndian.AppendUint64(w.b, a.Fingerprint)
	w.labels(a.Labels)
	w.labels(a.Annotations)
	w.string(a.GeneratorURL)
	for _, at := range []int64{a.StartsAt, a.EndsAt, a.ReceivedAt} {
		w.instant(at)
	}
	w.bool(a.Timeout)
	w.b = binary.AppendVarint(w.b, a.Seq)
	w.json(a.Rules, len(a.Rules) == 0)
	w.json(a.Incidents, len(a.Incidents) == 0)
	return w.b
}

// UnpackAlert reads what PackAlert wrote. It refuses anything else with an error.
func UnpackAlert(b []byte) (*ActiveAlert, error) {
	r, err := newUnpacker(b)
	if err != nil {
		return nil, err
	}
	a := &ActiveAlert{UpdatedAt: r.base, Fingerprint: r.uint64()}
	a.Labels, a.Annotations = r.labels(), r.labels()
	a.GeneratorURL = strings.Clone(r.string())
	a.StartsAt, a.EndsAt, a.ReceivedAt = r.instant(), r.instant(), r.instant()
	a.Timeout = r.bool()
	a.Seq = r.int()
	r.json(&a.Rules)
	r.json(&a.Incidents)
	if err := r.end(); err != nil {
		return nil, err
	}
	return a, nil
}

// PackGroupAlerts writes the alerts of a notification down.
func PackGroupAlerts(alerts []GroupAlert) []byte {
	size := 64
	for i := range alerts {
		size += int(alerts[i].Labels.ByteSize()) + int(alerts[i].Annotations.ByteSize()) + len(alerts[i].GeneratorURL) + 32
	}
	w := packer{b: make([]byte, 0, size)}
	if len(alerts) > 0 {
		w.base = alerts[0].StartsAt.UnixMicro()
	}
	w.b = append(w.b, packVersion)
	w.b = binary.AppendVarint(w.b, w.base)
	w.uint(uint64(len(alerts)))
	for i := range alerts {
		a := &alerts[i]
		w.labels(a.Labels)
		w.labels(a.Annotations)
		w.string(a.GeneratorURL)
		w.instant(a.StartsAt.UnixMicro())
		w.instant(a.EndsAt.UnixMicro())
		w.instant(a.UpdatedAt.UnixMicro())
	}
	return w.b
}

// UnpackGroupAlerts reads what PackGroupAlerts wrote. It refuses anything else with an error.
func UnpackGroupAlerts(b []byte) ([]GroupAlert, error) {
	r, err := newUnpacker(b)
	if err != nil {
		return nil, err
	}
	var out []GroupAlert
	if n := r.count(6); n > 0 {
		out = make([]GroupAlert, n)
	}
	for i := range out {
		a := &out[i]
		a.Labels, a.Annotations = r.labels(), r.labels()
		a.GeneratorURL = strings.Clone(r.string())
		a.StartsAt, a.EndsAt, a.UpdatedAt = micros(r.instant()), micros(r.instant()), micros(r.instant())
	}
	return out, r.end()
}

// micros turns microseconds since 1970 into an instant in UTC. Those of the zero time give the zero time.
func micros(us int64) time.Time { return time.UnixMicro(us).UTC() }

type packer struct {
	b    []byte
	base int64 // instants are relative to it, wrapping around
}

func (w *packer) uint(v uint64)   { w.b = binary.AppendUvarint(w.b, v) }
func (w *packer) instant(v int64) { w.b = binary.AppendVarint(w.b, v-w.base) }

func (w *packer) string(s string) {
	w.uint(uint64(len(s)))
	w.b = append(w.b, s...)
}

func (w *packer) bool(v bool) {
	if v {
		w.b = append(w.b, 1)
		return
	}
	w.b = append(w.b, 0)
}

func (w *packer) labels(ls labels.Labels) {
	w.uint(uint64(ls.Len()))
	ls.Range(func(l labels.Label) {
		w.string(l.Name)
		w.string(l.Value)
	})
}

// json writes v, which is marshalled by its own rules; nothing for an empty one.
func (w *packer) json(v any, empty bool) {
	if empty {
		w.uint(0)
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("oncall: a change cannot be written down: %v", err)) // its types always can
	}
	w.uint(uint64(len(b)))
	w.b = append(w.b, b...)
}

// unpacker reads what packer wrote. After the first error all reads return zero values.
type unpacker struct {
	s       string // what is left
	base    int64
	err     error
	builder labels.ScratchBuilder
}

// maxLabelText bounds a name or a value: the representation of labels takes no more.
const maxLabelText = 1<<24 - 1

func newUnpacker(b []byte) (*unpacker, error) {
	if len(b) == 0 {
		return nil, errPacked
	}
	if b[0] != packVersion {
		return nil, fmt.Errorf("packed by another version of tocsin: format %d, this one reads %d", b[0], packVersion)
	}
	r := &unpacker{s: string(b[1:])}
	r.base = r.int()
	return r, nil
}

func (r *unpacker) fail() {
	if r.err == nil {
		r.err = errPacked
	}
	r.s = ""
}

func (r *unpacker) end() error {
	if r.err == nil && r.s != "" {
		r.fail()
	}
	return r.err
}

func (r *unpacker) uint() uint64 {
	var v uint64
	for i := range min(len(r.s), binary.MaxVarintLen64) {
		c := r.s[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			r.s = r.s[i+1:]
			return v
		}
	}
	r.fail()
	return 0
}

func (r *unpacker) int() int64 {
	u := r.uint()
	return int64(u>>1) ^ -int64(u&1)
}

func (r *unpacker) instant() int64 { return r.int() + r.base }

func (r *unpacker) uint64() uint64 {
	if len(r.s) < 8 {
		r.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64([]byte(r.s[:8]))
	r.s = r.s[8:]
	return v
}

// count reads a number of elements, each of which takes at least least bytes: a record that claims more
// than it could hold must not claim memory.
func (r *unpacker) count(least int) int {
	n := r.uint()
	if n > uint64(len(r.s)/least) {
		r.fail()
		return 0
	}
	return int(n)
}

// string returns a part of the record; clone what is to stay.
func (r *unpacker) string() string {
	n := r.uint()
	if n > uint64(len(r.s)) {
		r.fail()
		return ""
	}
	s := r.s[:n]
	r.s = r.s[n:]
	return s
}

func (r *unpacker) bool() bool {
	if r.s == "" || r.s[0] > 1 {
		r.fail()
		return false
	}
	v := r.s[0] == 1
	r.s = r.s[1:]
	return v
}

// labels refuses names that are out of order or given twice: who compares labels relies on it.
func (r *unpacker) labels() labels.Labels {
	r.builder.Reset()
	before := ""
	n := r.count(2)
	if n == 0 {
		return labels.EmptyLabels()
	}
	for i := range n {
		name, value := r.string(), r.string()
		if r.err != nil || (i > 0 && name <= before) || len(name) > maxLabelText || len(value) > maxLabelText {
			r.fail()
			return labels.EmptyLabels()
		}
		before = name
		r.builder.Add(name, value)
	}
	return r.builder.Labels()
}

func (r *unpacker) json(v any) {
	s := r.string()
	if r.err != nil || s == "" {
		return
	}
	if err := json.Unmarshal([]byte(s), v); err != nil {
		r.err = fmt.Errorf("%w: %w", errPacked, err)
		r.s = ""
	}
}
