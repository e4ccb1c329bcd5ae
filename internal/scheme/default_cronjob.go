package scheme

import batchv1 "k8s.io/api/batch/v1"

func defaultCronJob(c *batchv1.CronJob) {
	fill(&c.Spec.ConcurrencyPolicy, batchv1.AllowConcurrent)
	point(&c.Spec.Suspend, false)
	point(&c.Spec.SuccessfulJobsHistoryLimit, 3)
	point(&c.Spec.FailedJobsHistoryLimit, 1)
	if p := c.Spec.JobTemplate.Spec.PodFailurePolicy; p != nil {
		for i := range p.Rules {
			awaited(&p.Rules[i])
		}
	}
	defaultPodSpec(&c.Spec.JobTemplate.Spec.Template.Spec)
}
