package validate

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

var cronJobRules = &rules{ // never changed
	create: rule(func(e *problems, c *batchv1.CronJob) {
		// A Job's name is that of its maker with the time, of eleven letters.
		if len(c.Name) > longestCronName {
			e.invalid(metadata.Child("name"), c.Name, fmt.Sprintf("must be no more than %d characters", longestCronName))
		}
		cronJob(e, c)
	}),
	update: same(cronJob),
	warnings: warning(func(c, old *batchv1.CronJob) []string {
		if old != nil && sameSpec(&c.Spec, &old.Spec) {
			return nil
		}
		out := specWarnings(&c.Spec.JobTemplate.Spec.Template.Spec, specPath.Child("jobTemplate", "spec", "template", "spec"))
		if old == nil {
			out = append(out, nameWarnings(c.Name, podNames)...)
		}
		return out
	}),
}

const longestCronName = 52

func cronJob(e *problems, c *batchv1.CronJob) {
	s := &c.Spec
	schedule := specPath.Child("schedule")
	switch {
	case s.Schedule == "":
		e.required(schedule, "")
	case strings.Contains(s.Schedule, "TZ"):
		text := "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
		if s.TimeZone != nil {
			text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
		}
		e.invalid(schedule, s.Schedule, text)
	default:
		if err := cronSchedule(s.Schedule); err != nil {
			e.invalid(schedule, s.Schedule, err.Error())
		}
	}
	if d := s.StartingDeadlineSeconds; d != nil {
		e.notNegative(specPath, "startingDeadlineSeconds", *d)
	}
	if z := s.TimeZone; z != nil {
		timeZone(e, *z, specPath.Child("timeZone"))
	}
	givenOneOf(e, specPath, "concurrencyPolicy", s.ConcurrencyPolicy, batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)
	template := &s.JobTemplate.Spec
	at := specPath.Child("jobTemplate", "spec")
	if template.Selector != nil {
		// Each Job is given its own.
		e.invalid(at.Child("selector"), template.Selector, "`selector` will be auto-generated")
	}
	if template.ManualSelector != nil && *template.ManualSelector {
		e.add(field.NotSupported(at.Child("manualSelector"), true, []string{"nil", "false"}))
	}
	jobSpec(e, template, at)
	if n := s.SuccessfulJobsHistoryLimit; n != nil {
		e.notNegative(specPath, "successfulJobsHistoryLimit", int64(*n))
	}
	if n := s.FailedJobsHistoryLimit; n != nil {
		e.notNegative(specPath, "failedJobsHistoryLimit", int64(*n))
	}
}

func timeZone(e *problems, zone string, at *field.Path) {
	switch {
	case zone == "":
		e.invalid(at, zone, "timeZone must be nil or non-empty string")
	case zone != strings.TrimSpace(zone):
		e.invalid(at, zone, fmt.Sprintf("unknown time zone %s", zone))
	case strings.EqualFold(zone, "Local"):
		e.invalid(at, zone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones")
	default:
		if _, err := time.LoadLocation(zone); err != nil {
			e.invalid(at, zone, "unknown time zone "+zone)
		}
	}
}
