package demo

import (
	"fmt"
	"time"

	"github.com/prometheus/common/model"
)

// The frame of the story, in UTC as in the postmortem.
var (
	storyStart  = time.Date(2024, 9, 23, 12, 40, 0, 0, time.UTC)
	outageStart = time.Date(2024, 9, 23, 13, 0, 0, 0, time.UTC)
	outageEnd   = time.Date(2024, 9, 23, 14, 45, 0, 0, time.UTC)
	storyEnd    = outageEnd.Add(5 * time.Minute)
)

// historySpan is how much of the past exists when the story starts: the rules look back that far.
const historySpan = 40 * time.Minute

// clock maps real time to story time. It is a value and never changes; starting again makes a new one.
type clock struct {
	began time.Time // real time at which the story was at storyStart
	speed float64   // story seconds per real second
}

// story returns the story time of a real instant, before the start too.
func (c clock) story(real time.Time) time.Time {
	return storyStart.Add(time.Duration(float64(real.Sub(c.began)) * c.speed))
}

// real returns the real instant of a story time.
func (c clock) real(story time.Time) time.Time {
	return c.began.Add(time.Duration(float64(story.Sub(storyStart)) / c.speed))
}

// shrink returns how long a story duration really takes, rounded to the milliseconds that rule files know.
func shrink(d time.Duration, speed float64) time.Duration {
	return time.Duration(float64(d) / speed).Round(time.Millisecond)
}

// promDuration formats a story duration as a rule file must say it for it to take its share of real time.
func promDuration(d time.Duration, speed float64) string {
	return model.Duration(max(shrink(d, speed), time.Millisecond)).String()
}

// hhmm is how people read story time.
func hhmm(t time.Time) string { return t.UTC().Format("15:04") }

// plainSeconds formats a short real duration: "3 s", "7.5 s".
func plainSeconds(d time.Duration) string {
	s := fmt.Sprintf("%.1f", d.Seconds())
	if len(s) > 2 && s[len(s)-2:] == ".0" {
		s = s[:len(s)-2]
	}
	return s + " s"
}
