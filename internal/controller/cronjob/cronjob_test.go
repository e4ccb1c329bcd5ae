package cronjob

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"clipper/internal/controller"
	"clipper/internal/controller/controllertest"
)

func TestScenarios(t *testing.T) {
	controllertest.Run(t, func(api *controllertest.API, c controller.Config) []controller.Controller {
		return []controller.Controller{New(c)}
	})
}

func TestAfter(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ spec, from, want string }{
		{"* * * * *", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"},
		{"*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z"},
		{"5/20 3 * * *", "2026-01-01T03:05:00Z", "2026-01-01T03:25:00Z"},
		{"0 12 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T12:00:00Z"},
		{"0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
		{"0 9 * * MON-FRI", "2026-01-02T09:00:00Z", "2026-01-05T09:00:00Z"},
		{"@weekly", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"@every 90s", "2026-01-01T00:00:00Z", "2026-01-01T00:01:30Z"},
		{"0 0 31 4 *", "2026-01-01T00:00:00Z", "never"},
	} {
		s, err := parse(row.spec, time.UTC)
		if err != nil {
			t.Errorf("%s: %v", row.spec, err)
			continue
		}
		from, _ := time.Parse(time.RFC3339, row.from)
		got, err := s.after(from)
		text := got.UTC().Format(time.RFC3339)
		if err != nil {
			text = "never"
		}
		if text != row.want {
			t.Errorf("%s after %s is %s, want %s", row.spec, row.from, text, row.want)
		}
	}
	s, err := parse("30 2 * * *", berlin)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 3, 28, 12, 0, 0, 0, berlin) // the next night has no 2:30
	for range 2 {
		if at, err = s.after(at); err != nil {
			t.Fatal(err)
		}
	}
	if want := "2026-03-31T02:30:00+02:00"; at.Format(time.RFC3339) != want {
		t.Errorf("second run is at %s, want %s", at.Format(time.RFC3339), want)
	}
}

func TestRefused(t *testing.T) {
	for _, spec := range []string{"", "* * * *", "* * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 7", "*/0 * * * *", "5-1 * * * *", "x * * * *", "-1 * * * *", "1, * * * *", "@every x", "@every 1ms", "@never"} {
		if _, err := parse(spec, time.UTC); err == nil {
			t.Errorf("%q is accepted", spec)
		}
	}
}

// The next time is the first minute that matches.
func TestAfterIsFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var parts []string
		for _, f := range fieldsOf() {
			switch rapid.IntRange(0, 3).Draw(t, "form") {
			case 0, 1:
				parts = append(parts, "*")
			case 2:
				parts = append(parts, fmt.Sprint(rapid.IntRange(f.low, f.top).Draw(t, f.name)))
			default:
				low := rapid.IntRange(f.low, f.top).Draw(t, f.name)
				parts = append(parts, fmt.Sprintf("%d-%d/%d", low, rapid.IntRange(low, f.top).Draw(t, "top"), rapid.IntRange(1, 5).Draw(t, "step")))
			}
		}
		s, err := parse(strings.Join(parts, " "), time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		from := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "from"), 0).UTC()
		got, err := s.after(from)
		at := from.Truncate(time.Minute).Add(time.Minute)
		for range 60 * 24 * 40 {
			if s.month&(1<<uint(at.Month())) != 0 && s.dueDay(at) && s.hour&(1<<uint(at.Hour())) != 0 && s.minute&(1<<uint(at.Minute())) != 0 {
				break
			}
			at = at.Add(time.Minute)
		}
		if err == nil && got.Before(at) || err == nil && at.Before(got) && at.Sub(from) < 40*24*time.Hour {
			t.Fatalf("%v after %v is %v, want %v", parts, from, got, at)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("*/5 1-3,7 * jan mon")
	f.Fuzz(func(t *testing.T, spec string) {
		s, err := parse(spec, time.UTC)
		if err != nil {
			return
		}
		from := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		if at, err := s.after(from); err == nil && !at.After(from) {
			t.Errorf("%q is next due at %v", spec, at)
		}
	})
}
