package scheme

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
)

func batchRows() []*Resource {
	in := func(r Resource) Resource {
		r.Group, r.Version, r.Namespaced, r.Verbs, r.Prefix = "batch", "v1", true, everyVerb, r.Name
		r.Categories, r.Subresources = []string{"all"}, []Subresource{status()}
		return r
	}
	return []*Resource{
		row[batchv1.CronJob, batchv1.CronJobList](in(Resource{
			Kind: "CronJob", Name: "cronjobs", Singular: "cronjob", ShortNames: []string{"cj"},
			Default: defaulter(defaultCronJob),
		})),
		row[batchv1.Job, batchv1.JobList](in(Resource{
			Kind: "Job", Name: "jobs", Singular: "job",
			unselected: "field label %q not supported for Job",
			Default:    defaulter(defaultJob),
			Fields: selectable(func(j *batchv1.Job, name string) (string, bool) {
				return strconv.Itoa(int(j.Status.Succeeded)), name == "status.successful"
			}),
			FieldNames: []string{"status.successful"},
		})),
	}
}
