package validate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

var jobRules = &rules{ // never changed
	create: rule(func(e *problems, j *batchv1.Job) {
		job(e, j)
		if m := j.Spec.CompletionMode; m != nil && *m == batchv1.IndexedCompletion && ptr.Deref(j.Spec.Completions, 0) > 0 {
			last := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1)
			if len(dnsLabel(last)) > 0 {
				e.invalid(metadata.Child("name"), j.Name, "will not able to create pod with invalid DNS label: "+last)
			}
		}
	}),
	update: change(jobUpdate),
	subresources: subresources{"status": change(func(e *problems, j, old *batchv1.Job) {
		e.notNegative(statusPath, "active", int64(j.Status.Active))
		e.notNegative(statusPath, "succeeded", int64(j.Status.Succeeded))
		e.notNegative(statusPath, "failed", int64(j.Status.Failed))
		if n := j.Status.Ready; n != nil {
			e.notNegative(statusPath, "ready", int64(*n))
			if *n > j.Status.Active {
				e.invalid(statusPath.Child("ready"), *n, "cannot set more ready pods than active")
			}
		}
		if n := j.Status.Terminating; n != nil {
			e.notNegative(statusPath, "terminating", int64(*n))
		}
		statusIndexes(e, j)
		jobCounts(e, j, old)
	})},
	warnings: warning(func(j, old *batchv1.Job) []string {
		var out []string
		if old == nil {
			out = nameWarnings(j.Name, podNames)
		}
		var was *corev1.PodTemplateSpec
		if old != nil {
			was = &old.Spec.Template
		}
		return append(out, templateWarnings(&j.Spec.Template, was)...)
	}),
}

// What a Job whose pods have numbers may have.
const (
	mostParallel          = 100000
	mostParallelOfMore    = 10000 // where more are to complete, each with failures of its own
	mostFailureRules      = 20
	mostFailureCodes      = 255
	mostFailureConditions = 20
)

func job(e *problems, j *batchv1.Job) {
	jobSelector(e, j)
	jobSpec(e, &j.Spec, specPath)
	if sel, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !sel.Matches(labels.Set(j.Spec.Template.Labels)) {
		e.invalid(specPath.Child("template", "metadata", "labels"), j.Spec.Template.Labels, unselected)
	}
}

// jobSelector checks that a Job selects its own pods, unless its user says
// that he sees to it.
func jobSelector(e *problems, j *batchv1.Job) {
	if j.Spec.Selector == nil {
		e.required(specPath.Child("selector"), "")
		return
	}
	selector(e, j.Spec.Selector, specPath.Child("selector"))
	if j.Spec.ManualSelector != nil && *j.Spec.ManualSelector {
		return
	}
	uid := string(j.UID)
	own := labels.Set{batchv1.ControllerUidLabel: uid, batchv1.JobNameLabel: j.Name, "controller-uid": uid, "job-name": j.Name}
	if sel, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !sel.Matches(own) {
		e.invalid(specPath.Child("selector"), j.Spec.Selector, "`selector` not auto-generated")
	}
	at := specPath.Child("template", "metadata", "labels")
	for _, l := range []struct{ key, value string }{
		{batchv1.ControllerUidLabel, uid}, {batchv1.JobNameLabel, j.Name}, {"controller-uid", uid}, {"job-name", j.Name},
	} {
		switch value, ok := j.Spec.Template.Labels[l.key]; {
		case !ok:
			e.required(at.Key(l.key), fmt.Sprintf("must be '%s'", l.value))
		case value != l.value:
			e.invalid(at.Key(l.key), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", l.value))
		}
	}
}

func jobSpec(e *problems, s *batchv1.JobSpec, at *field.Path) {
	for _, n := range []struct {
		name  string
		value *int32
	}{
		{"parallelism", s.Parallelism}, {"completions", s.Completions}, {"backoffLimit", s.BackoffLimit},
		{"ttlSecondsAfterFinished", s.TTLSecondsAfterFinished}, {"backoffLimitPerIndex", s.BackoffLimitPerIndex},
		{"maxFailedIndexes", s.MaxFailedIndexes},
	} {
		if n.value != nil {
			e.notNegative(at, n.name, int64(*n.value))
		}
	}
	if d := s.ActiveDeadlineSeconds; d != nil {
		e.notNegative(at, "activeDeadlineSeconds", *d)
	}
	if m := s.ManagedBy; m != nil {
		e.all(validation.IsDomainPrefixedPath(at.Child("managedBy"), *m))
		if len(*m) > 63 {
			e.add(field.TooLong(at.Child("managedBy"), *m, 63))
		}
	}
	indexed := s.CompletionMode != nil && *s.CompletionMode == batchv1.IndexedCompletion
	optionalOneOf(e, at, "completionMode", s.CompletionMode, batchv1.IndexedCompletion, batchv1.NonIndexedCompletion)
	if indexed {
		if s.Completions == nil {
			e.required(at.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion))
		}
		if p := s.Parallelism; p != nil && *p > mostParallel {
			e.invalid(at.Child("parallelism"), *p, fmt.Sprintf("must be less than or equal to %d when completion mode is %s", mostParallel, batchv1.IndexedCompletion))
		}
	} else if s.SuccessPolicy != nil {
		e.invalid(at.Child("successPolicy"), s.SuccessPolicy, "requires indexed completion mode")
	}
	if s.CompletionMode == nil || *s.CompletionMode == batchv1.NonIndexedCompletion {
		if s.BackoffLimitPerIndex != nil {
			e.invalid(at.Child("backoffLimitPerIndex"), *s.BackoffLimitPerIndex, "requires indexed completion mode")
		}
		if s.MaxFailedIndexes != nil {
			e.invalid(at.Child("maxFailedIndexes"), *s.MaxFailedIndexes, "requires indexed completion mode")
		}
	}
	if m := s.MaxFailedIndexes; m != nil {
		if indexed && *m > mostParallel {
			e.invalid(at.Child("maxFailedIndexes"), *m, fmt.Sprintf("must be less than or equal to %d", mostParallel))
		}
		if s.BackoffLimitPerIndex == nil {
			e.required(at.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified")
		}
		if indexed && s.Completions != nil && *m > *s.Completions {
			e.invalid(at.Child("maxFailedIndexes"), *m, "must be less than or equal to completions")
		}
	}
	if indexed && s.Completions != nil && *s.Completions > mostParallel && s.BackoffLimitPerIndex != nil {
		const text = "must be less than or equal to %d when completions are above %d and used with backoff limit per index"
		if s.MaxFailedIndexes == nil {
			e.required(at.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", mostParallel))
		} else if m := *s.MaxFailedIndexes; m > mostParallelOfMore {
			e.invalid(at.Child("maxFailedIndexes"), m, fmt.Sprintf(text, mostParallelOfMore, mostParallel))
		}
		if p := s.Parallelism; p != nil && *p > mostParallelOfMore {
			e.invalid(at.Child("parallelism"), *p, fmt.Sprintf(text, mostParallelOfMore, mostParallel))
		}
	}
	if s.PodFailurePolicy != nil {
		failurePolicy(e, s, at)
	}
	if s.SuccessPolicy != nil && indexed {
		successPolicy(e, s, at.Child("successPolicy", "rules"))
	}
	replacements := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
	if s.PodFailurePolicy != nil {
		replacements = replacements[:1] // a pod that still ends has not failed so far
	}
	optionalOneOf(e, at, "podReplacementPolicy", s.PodReplacementPolicy, replacements...)
	template := at.Child("template")
	podTemplate(e, &s.Template, template)
	switch p := s.Template.Spec.RestartPolicy; p {
	case corev1.RestartPolicyNever:
	case corev1.RestartPolicyOnFailure:
		if s.PodFailurePolicy != nil {
			e.invalid(template.Child("spec", "restartPolicy"), p, "only \"Never\" is supported when podFailurePolicy is specified")
		}
	case corev1.RestartPolicyAlways, "":
		// It is so when it was left out.
		e.required(template.Child("spec", "restartPolicy"), fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever))
	default:
		e.add(field.NotSupported(template.Child("spec", "restartPolicy"), p, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	}
}

// listedOneOf is givenOneOf that tells what may be given.
func listedOneOf[T ~string](e *problems, at *field.Path, name string, value T, supported ...T) {
	if value == "" {
		e.required(at.Child(name), fmt.Sprintf("valid values: %q", supported))
		return
	}
	oneOf(e, at, name, value, supported...)
}

func failurePolicy(e *problems, s *batchv1.JobSpec, at *field.Path) {
	at = at.Child("podFailurePolicy", "rules")
	if n := len(s.PodFailurePolicy.Rules); n > mostFailureRules {
		e.add(field.TooMany(at, n, mostFailureRules))
	}
	for i := range s.PodFailurePolicy.Rules {
		r, at := &s.PodFailurePolicy.Rules[i], at.Index(i)
		listedOneOf(e, at, "action", r.Action, batchv1.PodFailurePolicyActionCount, batchv1.PodFailurePolicyActionFailIndex,
			batchv1.PodFailurePolicyActionFailJob, batchv1.PodFailurePolicyActionIgnore)
		if r.Action == batchv1.PodFailurePolicyActionFailIndex && s.BackoffLimitPerIndex == nil {
			e.invalid(at.Child("action"), r.Action, "requires the backoffLimitPerIndex to be set")
		}
		if r.OnExitCodes != nil {
			exitCodes(e, r.OnExitCodes, &s.Template.Spec, at.Child("onExitCodes"))
		}
		if n := len(r.OnPodConditions); n > mostFailureConditions {
			e.add(field.TooMany(at.Child("onPodConditions"), n, mostFailureConditions))
		}
		for j, c := range r.OnPodConditions {
			at := at.Child("onPodConditions").Index(j)
			e.check(at, "type", string(c.Type), validation.IsQualifiedName)
			givenOneOf(e, at, "status", c.Status, corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)
		}
		switch {
		case r.OnExitCodes != nil && len(r.OnPodConditions) > 0:
			e.invalid(at, field.OmitValueType{}, "specifying both OnExitCodes and OnPodConditions is not supported")
		case r.OnExitCodes == nil && len(r.OnPodConditions) == 0:
			e.invalid(at, field.OmitValueType{}, "specifying one of OnExitCodes and OnPodConditions is required")
		}
	}
}

func exitCodes(e *problems, c *batchv1.PodFailurePolicyOnExitCodesRequirement, s *corev1.PodSpec, at *field.Path) {
	listedOneOf(e, at, "operator", c.Operator, batchv1.PodFailurePolicyOnExitCodesOpIn, batchv1.PodFailurePolicyOnExitCodesOpNotIn)
	if n := c.ContainerName; n != nil {
		is := func(o corev1.Container) bool { return o.Name == *n }
		if !slices.ContainsFunc(s.Containers, is) && !slices.ContainsFunc(s.InitContainers, is) {
			e.invalid(at.Child("containerName"), *n, "must be one of the container or initContainer names in the pod template")
		}
	}
	values := at.Child("values")
	switch n := len(c.Values); {
	case n == 0:
		e.invalid(values, c.Values, "at least one value is required")
	case n > mostFailureCodes:
		e.add(field.TooMany(values, n, mostFailureCodes))
	}
	for i, v := range c.Values {
		if c.Operator == batchv1.PodFailurePolicyOnExitCodesOpIn && v == 0 {
			e.invalid(values.Index(i), v, "must not be 0 for the In operator")
		}
		if slices.Contains(c.Values[:i], v) {
			e.add(field.Duplicate(values.Index(i), v))
		} else if i > 0 && v < c.Values[i-1] {
			e.invalid(values, c.Values, "must be ordered")
		}
	}
}

// jobCounts judges how a Job is told to have gone on.
func jobCounts(e *problems, j, old *batchv1.Job) {
	s := &j.Status
	for _, c := range []struct {
		name     string
		now, was int32
	}{{"failed", s.Failed, old.Status.Failed}, {"succeeded", s.Succeeded, old.Status.Succeeded}} {
		if c.now < c.was {
			e.invalid(statusPath.Child(c.name), c.now, "cannot decrease the "+c.name+" counter")
		}
	}
	complete := slices.ContainsFunc(s.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobComplete && c.Status == corev1.ConditionTrue
	})
	if s.CompletionTime != nil && !complete {
		e.invalid(statusPath.Child("completionTime"), s.CompletionTime, "cannot set completionTime when there is no Complete=True condition")
	}
	if s.UncountedTerminatedPods == nil {
		return
	}
	at, seen := statusPath.Child("uncountedTerminatedPods"), map[types.UID]bool{}
	for _, l := range []struct {
		name string
		list []types.UID
	}{{"succeeded", s.UncountedTerminatedPods.Succeeded}, {"failed", s.UncountedTerminatedPods.Failed}} {
		for i, id := range l.list {
			at := at.Child(l.name).Index(i)
			switch {
			case id == "":
				e.invalid(at, id, "must not be empty")
			case seen[id]:
				e.add(field.Duplicate(at, id))
			}
			seen[id] = true
		}
	}
}

// statusIndexes judges which pods are told to have succeeded and failed.
func statusIndexes(e *problems, j *batchv1.Job) {
	s := &j.Spec
	most := int32(0)
	if s.Completions != nil {
		most = *s.Completions
	}
	parse := func(name, text string) {
		if _, err := countIndexes(text, most); err != nil {
			e.invalid(statusPath.Child(name), text, "error parsing "+name+": "+err.Error())
		}
	}
	if text := j.Status.CompletedIndexes; text != "" {
		if s.CompletionMode == nil || *s.CompletionMode != batchv1.IndexedCompletion {
			e.invalid(statusPath.Child("completedIndexes"), text, "cannot set non-empty completedIndexes when non-indexed completion mode")
		}
		parse("completedIndexes", text)
	}
	if text := j.Status.FailedIndexes; text != nil {
		if s.BackoffLimitPerIndex == nil {
			e.invalid(statusPath.Child("failedIndexes"), *text, "cannot set non-null failedIndexes when backoffLimitPerIndex is null")
		} else {
			parse("failedIndexes", *text)
		}
	}
}

func successPolicy(e *problems, s *batchv1.JobSpec, at *field.Path) {
	p := s.SuccessPolicy
	switch n := len(p.Rules); {
	case n == 0:
		e.required(at, "at least one rules must be specified when the successPolicy is specified")
	case n > mostFailureRules:
		e.add(field.TooMany(at, n, mostFailureRules))
	}
	for i, r := range p.Rules {
		at := at.Index(i)
		if r.SucceededCount == nil && r.SucceededIndexes == nil {
			e.required(at, "at least one of succeededCount or succeededIndexes must be specified")
		}
		most := int32(0)
		if s.Completions != nil {
			most = *s.Completions
		}
		indexes := int32(0)
		if t := r.SucceededIndexes; t != nil {
			var err error
			if indexes, err = countIndexes(*t, most); err != nil {
				e.invalid(at.Child("succeededIndexes"), *t, "error parsing succeededIndexes: "+err.Error())
			}
		}
		n := r.SucceededCount
		if n == nil {
			continue
		}
		count := at.Child("succeededCount")
		e.notNegative(at, "succeededCount", int64(*n))
		if s.Completions != nil && *n > most {
			e.invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of specified completions)", most))
		}
		if r.SucceededIndexes != nil && *n > indexes {
			e.invalid(count, *n, fmt.Sprintf("must be less than or equal to %d (the number of indexes in the specified succeededIndexes field)", indexes))
		}
	}
}

// countIndexes counts the indexes that a text such as "1,3-5" lists in order,
// none of which reaches the number of completions. An error counts none.
func countIndexes(text string, completions int32) (total int32, err error) {
	if text == "" {
		return 0, nil
	}
	last := int32(-1)
	for _, part := range strings.Split(text, ",") {
		ends := strings.Split(part, "-")
		if len(ends) > 2 {
			return 0, fmt.Errorf("the fragment %q violates the requirement that an index interval can have at most two parts separated by '-'", part)
		}
		first := last + 1
		for i, end := range ends {
			n, err := strconv.ParseInt(end, 10, 32)
			switch {
			case err != nil:
				return 0, fmt.Errorf("cannot convert string to integer for index: %q", end)
			case int32(n) >= completions:
				return 0, fmt.Errorf("too large index: %q", end)
			case int32(n) < first:
				return 0, fmt.Errorf("non-increasing order, previous: %d, current: %d", first-1, n)
			}
			if i == 0 {
				total++
			} else {
				total += int32(n) - first + 1
			}
			first, last = int32(n)+1, int32(n)
		}
	}
	return total, nil
}

func jobUpdate(e *problems, j, old *batchv1.Job) {
	job(e, j)
	s, was := &j.Spec, &old.Spec
	indexed := s.CompletionMode != nil && *s.CompletionMode == batchv1.IndexedCompletion
	if !indexed {
		e.immutable(specPath, "completions", s.Completions, sameSpec(s.Completions, was.Completions))
	} else if !sameSpec(s.Completions, was.Completions) && (s.Completions == nil || s.Parallelism == nil || *s.Completions != *s.Parallelism) {
		e.invalid(specPath.Child("completions"), s.Completions, "can only be modified in tandem with spec.parallelism")
	}
	e.immutable(specPath, "selector", s.Selector, sameSpec(s.Selector, was.Selector))
	jobTemplateUpdate(e, j, old)
	e.immutable(specPath, "completionMode", s.CompletionMode, sameSpec(s.CompletionMode, was.CompletionMode))
	e.immutable(specPath, "podFailurePolicy", s.PodFailurePolicy, sameSpec(s.PodFailurePolicy, was.PodFailurePolicy))
	e.immutable(specPath, "backoffLimitPerIndex", s.BackoffLimitPerIndex, sameSpec(s.BackoffLimitPerIndex, was.BackoffLimitPerIndex))
	e.immutable(specPath, "managedBy", s.ManagedBy, sameSpec(s.ManagedBy, was.ManagedBy))
	e.immutable(specPath, "successPolicy", s.SuccessPolicy, sameSpec(s.SuccessPolicy, was.SuccessPolicy))
}

// jobTemplateUpdate lets a Job that was never started say anew where its pods
// go (KEP-2926).
func jobTemplateUpdate(e *problems, j, old *batchv1.Job) {
	t, was := j.Spec.Template.DeepCopy(), &old.Spec.Template
	if old.Spec.Suspend != nil && *old.Spec.Suspend && old.Status.StartTime == nil {
		t.Labels, t.Annotations = was.Labels, was.Annotations
		t.Spec.NodeSelector, t.Spec.Tolerations, t.Spec.SchedulingGates = was.Spec.NodeSelector, was.Spec.Tolerations, was.Spec.SchedulingGates
		if a := t.Spec.Affinity; a != nil || was.Spec.Affinity != nil {
			t.Spec.Affinity = was.Spec.Affinity
		}
	}
	e.immutable(specPath, "template", &j.Spec.Template, sameSpec(t, was))
}
