package chart

import (
	"bytes"
	"flag"
	"fmt"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"
	"unicode/utf8"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the pictures in testdata")

var t0 = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)

func leak(name string, from, to time.Time, base, slope float64) Line {
	l := Line{Name: name}
	i := 0
	for t := from; !t.After(to); t = t.Add(time.Minute) {
		l.Points = append(l.Points, Point{t, base + slope*t.Sub(from).Hours() + 0.008*math.Sin(float64(i)*1.7)})
		i++
	}
	return l
}

func zone(t testing.TB) *time.Location {
	z, err := time.LoadLocation("Europe/Madrid")
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func examples(t testing.TB) map[string]*Chart {
	from := t0.Add(-3 * time.Hour)
	one := &Chart{Title: "Session memory high", Unit: Ratio, From: from, To: t0, Step: time.Minute, Zone: zone(t), Limited: true, Limit: 0.8, Above: true,
		Lines: []Line{leak("session-1:9100", from, t0, 0.35, 0.16), leak("session-2:9100", from, t0, 0.30, 0.06)}, Pending: t0.Add(-2 * time.Minute), Firing: t0}
	one.Lines[1].Faint = true
	lk := &Chart{Title: "Session memory leak", Unit: Ratio, From: from, To: t0.Add(-40 * time.Minute), Step: time.Minute, Zone: zone(t), Limited: true, Limit: 1, Above: true,
		Lines: []Line{leak("session-1:9100", from, t0.Add(-40*time.Minute), 0.31, 0.16), leak("session-2:9100", from, t0.Add(-40*time.Minute), 0.28, 0.13)}, Pending: t0.Add(-46 * time.Minute), Firing: t0.Add(-43 * time.Minute)}
	lk.Forecast = ForecastOf(lk.Lines[0].Points, time.Hour, 1)
	res := &Chart{Title: "Session memory high", Unit: Ratio, From: from, To: t0.Add(30 * time.Minute), Step: time.Minute, Limited: true, Limit: 0.8, Above: true, Resolved: t0.Add(17 * time.Minute),
		Lines: []Line{leak("session-1:9100", from, t0.Add(15*time.Minute), 0.35, 0.16), leak("session-2:9100", from, t0.Add(30*time.Minute), 0.30, 0.06)}, Pending: t0.Add(-2 * time.Minute), Firing: t0}
	res.Lines[0].Points = append(res.Lines[0].Points, leak("", t0.Add(17*time.Minute), t0.Add(30*time.Minute), 0.2, 0.1).Points...)
	many := &Chart{Title: "Queue length of ذاكرة 💥 and a very long title that does not fit the picture at all, whatever one does", From: from, To: t0, Step: time.Minute, Limited: true, Limit: 120000, Above: true, More: 290, Firing: t0.Add(-time.Minute)}
	for i := range 12 {
		l := leak(fmt.Sprintf("worker-%d.some.very.long.name.of.a.host.in.a.cluster.example.org:9100", i), from, t0, float64(i)/20, 0.2)
		for j := range l.Points {
			l.Points[j].Value *= 200000
		}
		l.Faint = i > 7
		many.Lines = append(many.Lines, l)
	}
	return map[string]*Chart{"one": one, "leak": lk, "resolved": res, "many": many, "empty": {Title: "x", From: from, To: t0}}
}

// TestPictures holds the pictures against testdata, within what another processor may round differently.
func TestPictures(t *testing.T) {
	for name, c := range examples(t) {
		t.Run(name, func(t *testing.T) {
			got, err := c.PNG()
			if err != nil {
				t.Fatal(err)
			}
			if len(got) > 120<<10 {
				t.Errorf("the picture has %d bytes", len(got))
			}
			path := filepath.Join("testdata", name+".png")
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("%v (run the test with -update to write it)", err)
			}
			if n := differ(t, want, got); n > 0.002 {
				t.Errorf("%.2f %% of the pixels differ from %s (look at both; -update rewrites it)", 100*n, path)
			}
		})
	}
}

// differ is the share of pixels that differ to the eye.
func differ(t *testing.T, a, b []byte) float64 {
	t.Helper()
	x, err := png.Decode(bytes.NewReader(a))
	if err != nil {
		t.Fatal(err)
	}
	y, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if x.Bounds() != y.Bounds() {
		return 1
	}
	n := 0
	for j := range x.Bounds().Dy() {
		for i := range x.Bounds().Dx() {
			r, g, b, _ := x.At(i, j).RGBA()
			s, h, c, _ := y.At(i, j).RGBA()
			if max(apart(r, s), apart(g, h), apart(b, c)) > 0x3000 {
				n++
			}
		}
	}
	return float64(n) / float64(x.Bounds().Dx()*x.Bounds().Dy())
}

func apart(a, b uint32) uint32 { return max(a, b) - min(a, b) }

// TestAnyData draws whatever a backend may answer.
func TestAnyData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(rapid.Float64(), rapid.SampledFrom([]float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, 1e300, -1e300, math.SmallestNonzeroFloat64, 1 << 62}))
		c := Chart{Title: rapid.String().Draw(t, "title"), Unit: rapid.SampledFrom([]Unit{Plain, Ratio, Percent, Bytes, BytesPerSec, Seconds, PerSecond, Celsius}).Draw(t, "unit"),
			From: t0, To: t0.Add(time.Duration(rapid.IntRange(0, 10000).Draw(t, "minutes")) * time.Minute), Step: time.Minute,
			Limited: rapid.Bool().Draw(t, "limited"), Limit: value.Draw(t, "limit"), Above: rapid.Bool().Draw(t, "above"), More: rapid.IntRange(0, 5000).Draw(t, "more")}
		for range rapid.IntRange(0, 4).Draw(t, "lines") {
			l := Line{Name: rapid.String().Draw(t, "name"), Faint: rapid.Bool().Draw(t, "faint")}
			for i, v := range rapid.SliceOfN(value, 0, 20).Draw(t, "values") {
				l.Points = append(l.Points, Point{t0.Add(time.Duration(i) * time.Minute), v})
			}
			c.Lines = append(c.Lines, l)
			if f := ForecastOf(l.Points, time.Hour, c.Limit); f != nil && !l.Faint {
				c.Forecast = f
			}
		}
		c.Firing, c.Resolved = t0.Add(time.Minute), c.To
		b, err := c.PNG()
		if err != nil || len(b) == 0 {
			t.Fatal(err)
		}
		if w := c.Words(); w == "" || utf8.RuneCountInString(w) > maxWords {
			t.Fatalf("%d characters", utf8.RuneCountInString(w))
		}
	})
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"one":      "Session memory high, 10:00 to 13:00 UTC. session-1:9100 rose from 35 % to 82.2 %. 1 more series. Fires above 80 %. Pending since 12:58 UTC. Firing since 13:00 UTC.",
		"leak":     "Session memory leak, 10:00 to 12:20 UTC. session-1:9100 rose from 31 % to 67.8 %. session-2:9100 rose from 28 % to 57.8 %. Limit 100 %. Pending since 12:14 UTC. Firing since 12:17 UTC. At this pace it reaches 100 % at 14:18 UTC.",
		"resolved": "Session memory high, 10:00 to 13:30 UTC. session-1:9100 fell from 35 % to 22.1 %. session-2:9100 rose from 30 % to 50.3 %. Fires above 80 %. Pending since 12:58 UTC. Firing since 13:00 UTC. Resolved at 13:17 UTC.",
		"empty":    "x, 10:00 to 13:00 UTC.",
	} {
		if got := examples(t)[name].Words(); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

func TestForecast(t *testing.T) {
	line := func(slope float64, n int) []Point {
		var ps []Point
		for i := range n {
			ps = append(ps, Point{t0.Add(time.Duration(i) * time.Minute), slope * float64(i)})
		}
		return ps
	}
	for name, c := range map[string]struct {
		points []Point
		level  float64
		after  time.Duration // of the last point; 0: no forecast
	}{
		"rising":      {line(1, 61), 120, time.Hour},
		"falling":     {line(-1, 61), -90, 30 * time.Minute},
		"away":        {line(-1, 61), 120, 0},
		"passed":      {line(1, 61), 30, 0},
		"flat":        {line(0, 61), 30, 0},
		"too far":     {line(1, 61), 1e6, 0},
		"too little":  {line(1, 2), 30, 0},
		"no number":   {line(1, 61), math.NaN(), 0},
		"with gaps":   {append(line(1, 61), Point{t0.Add(61 * time.Minute), math.NaN()}), 120, time.Hour},
		"only lately": {append([]Point{{t0.Add(-3 * time.Hour), 1e6}}, line(1, 61)...), 120, time.Hour},
	} {
		f := ForecastOf(c.points, time.Hour, c.level)
		switch {
		case f == nil && c.after != 0:
			t.Errorf("%s: no forecast", name)
		case f != nil && c.after == 0:
			t.Errorf("%s: a forecast of %s", name, f.Reach)
		case f != nil && f.Reach.Sub(t0.Add(time.Hour+c.after)).Abs() > time.Second:
			t.Errorf("%s: reaches it at %s", name, f.Reach)
		}
	}
}

func TestRead(t *testing.T) {
	for expr, want := range map[string]string{
		"session_memory_bytes / session_memory_limit_bytes > 0.8": "session_memory_bytes / session_memory_limit_bytes ratio above 80 %, limit 0.8",
		"0.8 <= a_ratio": "a_ratio ratio at or above 80 %, limit 0.8",
		"predict_linear(session_memory_bytes[10m], 40 * 60) / session_memory_limit_bytes > 1":          "session_memory_bytes / session_memory_limit_bytes ratio above 100 %, limit 1, leak 40m0s of 10m0s",
		"predict_linear(disk_avail_bytes[6h], 86400) < 0":                                              "disk_avail_bytes bytes below 0 B, limit 0, leak 24h0m0s of 6h0m0s",
		"(l_bytes - m_bytes) / deriv(m_bytes[1h]) < 3600":                                              "m_bytes bytes below 1h, limit l_bytes, leak 1h0m0s of 1h0m0s",
		"(1e9 - m_bytes) / deriv(m_bytes[1h]) < 3600":                                                  "m_bytes bytes below 1h, limit 1e+09, leak 1h0m0s of 1h0m0s",
		"deriv(m_bytes[1h]) > 1024":                                                                    "deriv(m_bytes[1h]) bytes/s above 1 KiB/s, limit 1024",
		"sum(rate(http_total{code=~\"5..\"}[2m])) / sum(rate(http_total[2m])) > 0.05":                  "sum(rate(http_total{code=~\"5..\"}[2m])) / sum(rate(http_total[2m])) ratio above 5 %, limit 0.05",
		"histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) > 0.8": "histogram_quantile(0.99, sum by (le) (rate(http_request_duration_seconds_bucket[5m]))) seconds above 800 ms, limit 0.8",
		"time() - backup_last_success_timestamp_seconds > 86400":                                       "time() - backup_last_success_timestamp_seconds seconds above 24h, limit 86400",
		"rate(requests_total[5m]) > 100 and on () up == 1":                                             "rate(requests_total[5m]) /s above 100/s, limit 100",
		"up == 0":                               "up  ",
		"a_bytes > b_bytes":                     "a_bytes bytes , limit b_bytes",
		"100 * a_ratio > 80":                    "100 * a_ratio percent above 80 %, limit 80",
		"count(up == 1) < 2 or absent(up == 1)": "count(up == 1)  below 2, limit 2",
		"absent(up)":                            "no",
		"vector(1)":                             "no",
		"this is no promql":                     "no",
		"a > bool 1":                            "a > bool 1  ",
		"clamp_max(temperature_celsius, 5) >= 30": "clamp_max(temperature_celsius, 5) celsius at or above 30 °C, limit 30",
	} {
		got := "no"
		if x, ok := Read(expr); ok {
			got = fmt.Sprintf("%s %s %s", x.Shown, x.Unit, x.Threshold())
			switch {
			case x.Limited:
				got += fmt.Sprintf(", limit %v", x.Limit)
			case x.Level != "":
				got += ", limit " + x.Level
			}
			if x.Leak {
				got += fmt.Sprintf(", leak %s of %s", x.Ahead, x.Behind)
			}
		}
		if got != want {
			t.Errorf("%s\n got %s\nwant %s", expr, got, want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("predict_linear(a_bytes[1h], 3600) / b_bytes > 1")
	f.Add("(a - b) / deriv(b[1h]) < 60")
	f.Fuzz(func(t *testing.T, expr string) {
		x, ok := Read(expr)
		if !ok {
			return
		}
		if _, err := reader.ParseExpr(x.Shown); err != nil {
			t.Errorf("%q is shown as %q: %v", expr, x.Shown, err)
		}
		if _, err := reader.ParseExpr(x.Level); x.Level != "" && err != nil {
			t.Errorf("%q has the level %q: %v", expr, x.Level, err)
		}
	})
}

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		unit Unit
		v    float64
		want string
	}{
		{Ratio, 0.8312499, "83.1 %"}, {Ratio, 1, "100 %"}, {Ratio, 0.0004, "0.04 %"}, {Percent, 83.125, "83.1 %"}, {Bytes, 1610612736, "1.5 GiB"}, {Bytes, 12, "12 B"},
		{BytesPerSec, 2048, "2 KiB/s"}, {Seconds, 0.25, "250 ms"}, {Seconds, 1.5, "1.5 s"}, {Seconds, 3725, "1h 2m"}, {Seconds, 0, "0 s"}, {Seconds, -7200, "-2h"},
		{PerSecond, 1234567, "1.23 M/s"}, {Plain, 5000, "5000"}, {Plain, 120000, "120 k"}, {Plain, 0.5, "0.5"}, {Plain, 1e-9, "1e-09"}, {Plain, math.NaN(), "NaN"}, {Ratio, math.Inf(1), "+Inf"},
		{Celsius, 41.25, "41.2 °C"},
	} {
		if got := c.unit.Format(c.v); got != c.want {
			t.Errorf("%v in %q: %q, want %q", c.v, c.unit, got, c.want)
		}
	}
}

func BenchmarkPNG(b *testing.B) {
	c := examples(b)["leak"]
	for b.Loop() {
		if _, err := c.PNG(); err != nil {
			b.Fatal(err)
		}
	}
}
