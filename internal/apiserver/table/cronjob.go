package table

import (
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

var cronJob = show(
	columns(name,
		text("Schedule", "When jobs are started, in cron's form."),
		text("Timezone", "Time zone of the schedule."),
		boolean("Suspend", "Whether no jobs are started for now."),
		integer("Active", "How many jobs run."),
		text("Last Schedule", "Time since a job was last started."),
		age, containers, images, selector),
	func(now time.Time, c *batchv1.CronJob) []any {
		names, images := templateCells(&c.Spec.JobTemplate.Spec.Template.Spec)
		last, zone, suspend := none, none, unset
		if t := c.Status.LastScheduleTime; t != nil {
			last = since(now, *t)
		}
		if z := c.Spec.TimeZone; z != nil {
			zone = or(*z, none)
		}
		if s := c.Spec.Suspend; s != nil {
			suspend = "False"
			if *s {
				suspend = "True"
			}
		}
		return []any{
			c.Name, c.Spec.Schedule, zone, suspend, int64(len(c.Status.Active)), last, since(now, c.CreationTimestamp),
			names, images, metav1.FormatLabelSelector(c.Spec.JobTemplate.Spec.Selector),
		}
	},
)
