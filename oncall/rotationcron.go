package oncall

import (
	"fmt"
	"math/bits"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// Cron is a cron expression of five fields, such as "0 9 * * MON": minutes of wall time. It knows no zone.
// The zero value never happens. Comparable.
type Cron struct {
	text                           string
	minute, hour, dom, month       uint64 // bit n: the value n
	weekdays                       [7]uint32
	restrictsDates, restrictsWeeks bool
}

// ParseCron reads a cron expression: five fields, or @hourly, @daily, @weekly, @monthly, @yearly. As in cron,
// a day matches either of day of month and day of week where both are restricted. An expression that never
// happens is an error.
func ParseCron(text string) (c Cron, err error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return Cron{}, fmt.Errorf("the cron expression is empty")
	case strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ="):
		return Cron{}, fmt.Errorf("a cron expression names no time zone here")
	case strings.HasPrefix(text, "@every"):
		return Cron{}, fmt.Errorf("@every is no time of day")
	}
	defer func() { // the parser panics on some input
		if recover() != nil {
			c, err = Cron{}, fmt.Errorf("not a cron expression")
		}
	}()
	parsed, err := cron.ParseStandard(text)
	if err != nil {
		return Cron{}, err
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return Cron{}, fmt.Errorf("not a cron expression")
	}
	const star = 1 << 63 // how the parser marks a field that restricts nothing
	c = Cron{
		text: text, minute: spec.Minute &^ star, hour: spec.Hour &^ star, dom: spec.Dom &^ star, month: spec.Month &^ star,
		restrictsDates: spec.Dom&star == 0, restrictsWeeks: spec.Dow&star == 0,
	}
	for first := range 7 { // the weekday of the month's first day
		for day := 1; day <= 31; day++ {
			if spec.Dow>>((first+day-1)%7)&1 == 1 {
				c.weekdays[first] |= 1 << day
			}
		}
	}
	// 2096 to 2104 is the longest that anything possible keeps away: 29 February.
	if _, ok := c.next(time.Date(2096, 2, 29, 23, 59, 0, 0, time.UTC)); !ok {
		return Cron{}, fmt.Errorf("no day of any year matches %q", text)
	}
	return c, nil
}

// String returns the expression as it was written.
func (c Cron) String() string { return c.text }

// IsZero reports whether there is no expression.
func (c Cron) IsZero() bool { return c.text == "" }

// days returns the days of a month that match: bit n is its n-th day. first is the weekday of its first day.
func (c Cron) days(year int, month time.Month, first time.Weekday) uint32 {
	if c.month>>month&1 == 0 {
		return 0
	}
	days := c.weekdays[first]
	if c.restrictsDates && c.restrictsWeeks {
		days |= uint32(c.dom)
	} else {
		days &= uint32(c.dom)
	}
	return days & (1<<(daysIn(year, month)+1) - 2)
}

// daysOf returns days of the month of w.
func (c Cron) daysOf(w time.Time) uint32 { return c.days(w.Year(), w.Month(), firstWeekday(w)) }

// firstWeekday returns the weekday of the first day of w's month.
func firstWeekday(w time.Time) time.Weekday {
	const weeks = 5 // more than a month has
	return (w.Weekday() + 7*weeks - time.Weekday(w.Day()-1)) % 7
}

func daysIn(year int, month time.Month) int {
	switch month {
	case time.February:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	case time.April, time.June, time.September, time.November:
		return 30
	}
	return 31
}

// next returns the first matching wall time after a wall time. It gives up, and says so, after nine years.
func (c Cron) next(after time.Time) (time.Time, bool) {
	t := after.Truncate(time.Minute).Add(time.Minute)
	if h, m, ok := c.inDay(t.Hour(), t.Minute()); ok && c.daysOf(t)>>t.Day()&1 == 1 {
		return time.Date(t.Year(), t.Month(), t.Day(), h, m, 0, 0, time.UTC), true
	}
	h, m, ok := c.inDay(0, 0)
	passed := uint32(1)<<(t.Day()+1) - 1 // days of the month up to today
	const months = 9 * 12
	for i := 0; ok && i < months; i++ {
		first := time.Date(t.Year(), t.Month()+time.Month(i), 1, 0, 0, 0, 0, time.UTC)
		if days := c.daysOf(first) &^ passed; days != 0 {
			return time.Date(first.Year(), first.Month(), bits.TrailingZeros32(days), h, m, 0, 0, time.UTC), true
		}
		passed = 0
	}
	return time.Time{}, false
}

// inDay returns the first matching time of day from h:m on.
func (c Cron) inDay(h, m int) (hour, minute int, ok bool) {
	if c.minute == 0 {
		return 0, 0, false
	}
	if c.hour>>h&1 == 1 && c.minute>>m != 0 {
		return h, m + bits.TrailingZeros64(c.minute>>m), true
	}
	if later := c.hour >> (h + 1); later != 0 {
		return h + 1 + bits.TrailingZeros64(later), bits.TrailingZeros64(c.minute), true
	}
	return 0, 0, false
}

// count returns how many matching wall times are after one wall time and not after another.
func (c Cron) count(after, upTo time.Time) int {
	if !upTo.After(after) {
		return 0
	}
	n := c.inMonth(upTo) - c.inMonth(after)
	day := c.perDay()
	year, month, first := after.Year(), after.Month(), firstWeekday(after)
	for year < upTo.Year() || year == upTo.Year() && month < upTo.Month() {
		n += day * bits.OnesCount32(c.days(year, month, first))
		first = (first + time.Weekday(daysIn(year, month))) % 7
		if month++; month > time.December {
			year, month = year+1, time.January
		}
	}
	return n
}

// perDay returns how many wall times match on a day that does.
func (c Cron) perDay() int { return bits.OnesCount64(c.hour) * bits.OnesCount64(c.minute) }

// inMonth returns how many matching wall times the month of w has up to w.
func (c Cron) inMonth(w time.Time) int {
	days := c.daysOf(w)
	perHour := bits.OnesCount64(c.minute)
	n := bits.OnesCount32(days&(1<<w.Day()-1)) * c.perDay()
	if days>>w.Day()&1 == 1 {
		n += bits.OnesCount64(c.hour&(1<<w.Hour()-1)) * perHour
		if c.hour>>w.Hour()&1 == 1 {
			n += bits.OnesCount64(c.minute & (1<<(w.Minute()+1) - 1))
		}
	}
	return n
}
