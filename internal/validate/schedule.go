package validate

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// cronField is what one of a schedule's five fields may say.
type cronField struct {
	low, high int
	names     []string // of low and what follows
}

var cronFields = []cronField{ // never changed
	{0, 59, nil},
	{0, 23, nil},
	{1, 31, nil},
	{1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{0, 6, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// cronSchedule returns what is wrong with a schedule in the form of crontab(5).
func cronSchedule(s string) error {
	if strings.HasPrefix(s, "@") {
		switch s {
		case "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly":
			return nil
		}
		if every, ok := strings.CutPrefix(s, "@every "); ok {
			if _, err := time.ParseDuration(every); err != nil {
				return fmt.Errorf("failed to parse duration %s: %w", s, err)
			}
			return nil
		}
		return fmt.Errorf("unrecognized descriptor: %s", s)
	}
	fields := strings.Fields(s)
	if len(fields) != len(cronFields) {
		return fmt.Errorf("expected exactly %d fields, found %d: %v", len(cronFields), len(fields), fields)
	}
	for i, f := range fields {
		for part := range strings.FieldsFuncSeq(f, func(r rune) bool { return r == ',' }) {
			if err := cronFields[i].check(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// check looks at a value, a range of values, or all, with or without a step.
func (f *cronField) check(part string) error {
	span, step, stepped := strings.Cut(part, "/")
	if strings.Contains(step, "/") {
		return fmt.Errorf("too many slashes: %s", part)
	}
	from, to, ranged := strings.Cut(span, "-")
	low, high := f.low, f.high
	if from == "*" || from == "?" {
		if ranged {
			return fmt.Errorf("too many hyphens: %s", part)
		}
	} else {
		if strings.Contains(to, "-") {
			return fmt.Errorf("too many hyphens: %s", part)
		}
		var err error
		if low, err = f.number(from); err != nil {
			return err
		}
		switch {
		case ranged:
			if high, err = f.number(to); err != nil {
				return err
			}
		case !stepped:
			high = low
		}
	}
	if stepped {
		n, err := (&cronField{}).number(step)
		if err != nil {
			return err
		}
		if n == 0 {
			return fmt.Errorf("step of range should be a positive number: %s", part)
		}
	}
	switch {
	case low < f.low:
		return fmt.Errorf("beginning of range (%d) below minimum (%d): %s", low, f.low, part)
	case high > f.high:
		return fmt.Errorf("end of range (%d) above maximum (%d): %s", high, f.high, part)
	case low > high:
		return fmt.Errorf("beginning of range (%d) beyond end of range (%d): %s", low, high, part)
	}
	return nil
}

func (f *cronField) number(s string) (int, error) {
	for i, name := range f.names {
		if strings.EqualFold(s, name) {
			return f.low + i, nil
		}
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("failed to parse int from %s: %w", s, err)
	}
	if n < 0 {
		return 0, fmt.Errorf("negative number (%d) not allowed: %s", n, s)
	}
	return n, nil
}
