package cronjob

import (
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"
)

// schedule is when a CronJob is due: the five fields of cron as sets of bits,
// or a fixed interval.
type schedule struct {
	minute, hour, day, month, weekday uint64
	// anyDay and anyWeekday tell of a "*": a day is due if both fields match,
	// or, when both are narrowed, if either does.
	anyDay, anyWeekday bool
	every              time.Duration
	zone               *time.Location
}

type field struct {
	name     string
	low, top int
	words    string // names of the values from low on, three letters each
}

func fieldsOf() [5]field {
	return [5]field{
		{"minute", 0, 59, ""}, {"hour", 0, 23, ""}, {"day of month", 1, 31, ""},
		{"month", 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec"},
		{"day of week", 0, 6, "sunmontuewedthufrisat"},
	}
}

// parse reads a schedule as upstream does: five fields, or a descriptor such
// as @daily or "@every 1h". It is due at times of the zone.
func parse(spec string, zone *time.Location) (*schedule, error) {
	s := &schedule{zone: zone}
	if d, ok := strings.CutPrefix(spec, "@every "); ok {
		every, err := time.ParseDuration(strings.TrimSpace(d))
		if err != nil || every < time.Second {
			return nil, fmt.Errorf("failed to parse duration %s: must be a second or more", spec)
		}
		s.every = every.Truncate(time.Second)
		return s, nil
	}
	switch spec {
	case "@yearly", "@annually":
		spec = "0 0 1 1 *"
	case "@monthly":
		spec = "0 0 1 * *"
	case "@weekly":
		spec = "0 0 * * 0"
	case "@daily", "@midnight":
		spec = "0 0 * * *"
	case "@hourly":
		spec = "0 * * * *"
	}
	parts := strings.Fields(spec)
	if len(parts) != 5 {
		return nil, fmt.Errorf("expected exactly 5 fields, found %d: %q", len(parts), spec)
	}
	var sets [5]uint64
	for i, f := range fieldsOf() {
		set, err := f.parse(parts[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		sets[i] = set
	}
	s.minute, s.hour, s.day, s.month, s.weekday = sets[0], sets[1], sets[2], sets[3], sets[4]
	star := func(p string) bool { return p[0] == '*' || p[0] == '?' }
	s.anyDay, s.anyWeekday = star(parts[2]), star(parts[4])
	return s, nil
}

func (f field) parse(text string) (set uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		low, top := f.low, f.top
		if span != "*" && span != "?" {
			from, to, isRange := strings.Cut(span, "-")
			if low, err = f.value(from); err != nil {
				return 0, err
			}
			switch {
			case isRange:
				if top, err = f.value(to); err != nil {
					return 0, err
				}
			case !stepped:
				top = low
			}
		}
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step <= 0 {
				return 0, fmt.Errorf("step of %q should be a positive number", item)
			}
		}
		if low > top {
			return 0, fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", low, top, item)
		}
		for ; low <= top; low += step {
			set |= 1 << uint(low%64)
		}
	}
	return set, nil
}

func (f field) value(s string) (int, error) {
	if len(s) == 3 && f.words != "" {
		if i := strings.Index(f.words, strings.ToLower(s)); i >= 0 && i%3 == 0 {
			return f.low + i/3, nil
		}
	}
	n, err := strconv.Atoi(s)
	switch {
	case err != nil || strings.HasPrefix(s, "+") || strings.HasPrefix(s, "-"):
		return 0, fmt.Errorf("failed to parse number: %q", s)
	case n < f.low:
		return 0, fmt.Errorf("%d below minimum (%d)", n, f.low)
	case n > f.top:
		return 0, fmt.Errorf("%d above maximum (%d)", n, f.top)
	}
	return n, nil
}

var errNever = errors.New("schedule is never due")

// after returns the first time after t that the schedule is due. A time that
// the clock skips is due when the clock has been put forward; one that comes
// twice is due once an hour field is "*", twice.
func (s *schedule) after(t time.Time) (time.Time, error) {
	if s.every > 0 {
		return t.Add(s.every).Truncate(time.Second), nil
	}
	t = t.In(s.zone).Truncate(time.Minute).Add(time.Minute)
	for last := t.Year() + 5; t.Year() <= last; {
		y, m, d := t.Date()
		switch {
		case s.month&(1<<uint(m)) == 0:
			t = time.Date(y, m+1, 1, 0, 0, 0, 0, s.zone)
		case !s.dueDay(t):
			t = s.midnight(y, m, d+1)
		case s.hour&(1<<uint(t.Hour())) == 0:
			// By duration, so that neither hour of an autumn night is lost.
			t = t.Add(time.Hour - time.Duration(t.Minute())*time.Minute)
		case s.minute&(1<<uint(t.Minute())) == 0:
			next := bits.TrailingZeros64(s.minute >> uint(t.Minute()))
			if next == 64 {
				next = 60 - t.Minute()
			}
			t = t.Add(time.Duration(next) * time.Minute)
		default:
			return t, nil
		}
	}
	return time.Time{}, errNever
}

// midnight is when a day begins, which in some zones is later on some days.
func (s *schedule) midnight(y int, m time.Month, d int) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, s.zone)
	if t.Hour() == 23 { // 0:00 does not exist, and became the hour before
		t = t.Add(time.Hour)
	}
	return t
}

func (s *schedule) dueDay(t time.Time) bool {
	day, weekday := s.day&(1<<uint(t.Day())) != 0, s.weekday&(1<<uint(t.Weekday())) != 0
	if s.anyDay || s.anyWeekday {
		return day && weekday
	}
	return day || weekday
}
