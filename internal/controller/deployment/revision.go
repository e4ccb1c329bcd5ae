package deployment

import (
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"clipper/internal/controller"
)

const (
	revisionAnnotation = "deployment.kubernetes.io/revision"
	historyAnnotation  = "deployment.kubernetes.io/revision-history"
	desiredAnnotation  = "deployment.kubernetes.io/desired-replicas"
	maxAnnotation      = "deployment.kubernetes.io/max-replicas"

	// historySize bounds the list of revisions a set has been, in characters.
	historySize = 2000
)

// notCopied are the annotations that a set does not take over.
var notCopied = map[string]bool{
	corev1.LastAppliedConfigAnnotation: true,
	revisionAnnotation:                 true,
	historyAnnotation:                  true,
	desiredAnnotation:                  true,
	maxAnnotation:                      true,
	appsv1.DeprecatedRollbackTo:        true,
}

// sameTemplate tells whether two templates are the same but for the hash that
// labels them.
func sameTemplate(a, b *corev1.PodTemplateSpec) bool {
	x, y := *a, *b
	x.Labels, y.Labels = unhashed(a.Labels), unhashed(b.Labels)
	return maps.Equal(x.Labels, y.Labels) && equality.Semantic.DeepEqual(x, y)
}

func unhashed(labels map[string]string) map[string]string {
	if _, ok := labels[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return labels
	}
	labels = maps.Clone(labels)
	delete(labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return labels
}

// make adds a new set for the Deployment's template.
func (p *plan) make() {
	d := p.d
	h := controller.TemplateHash(&d.Spec.Template, d.Status.CollisionCount)
	template := *d.Spec.Template.DeepCopy()
	template.Labels = with(template.Labels, h)
	selector := d.Spec.Selector.DeepCopy()
	selector.MatchLabels = with(selector.MatchLabels, h)
	s := wanted(&appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: d.Name + "-" + h, Namespace: d.Namespace, Labels: maps.Clone(template.Labels),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(d, kind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: new(int32), MinReadySeconds: d.Spec.MinReadySeconds, Selector: selector, Template: template,
		},
	})
	p.current, p.create = s, s
	p.revise(s)
	p.resize(s, p.grown())
	p.created()
}

func with(labels map[string]string, hash string) map[string]string {
	labels = maps.Clone(labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[appsv1.DefaultDeploymentUniqueLabelKey] = hash
	return labels
}

// revise brings the current set's annotations and minReadySeconds in line with
// the Deployment's, and makes its revision the newest.
func (p *plan) revise(s *replicaSet) {
	for k, v := range p.d.Annotations {
		if !notCopied[k] {
			s.note(k, v)
		}
	}
	s.minReady = p.d.Spec.MinReadySeconds
	newest := int64(0)
	for _, o := range p.old {
		newest = max(newest, revisionOf(o.ReplicaSet))
	}
	p.revision = s.Annotations[revisionAnnotation]
	was := revisionOf(s.ReplicaSet)
	if was > newest {
		return
	}
	p.revision = strconv.FormatInt(newest+1, 10)
	s.note(revisionAnnotation, p.revision)
	if was > 0 {
		s.note(historyAnnotation, history(s.Annotations[historyAnnotation], strconv.FormatInt(was, 10)))
	}
}

// history appends a revision to a list, and drops the first ones if it grows
// too long.
func history(list, revision string) string {
	if list != "" {
		list += ","
	}
	list += revision
	for len(list) > historySize {
		_, list, _ = strings.Cut(list, ",")
	}
	return list
}

// revisionOf returns the set's revision; 0 if it has none.
func revisionOf(rs *appsv1.ReplicaSet) int64 {
	n, err := strconv.ParseInt(rs.Annotations[revisionAnnotation], 10, 64)
	if err != nil {
		return 0
	}
	return n
}
