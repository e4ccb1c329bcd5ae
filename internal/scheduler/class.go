package scheduler

import (
	"encoding/binary"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// class is what all pods of one kind share: pods whose specs no plugin can
// tell apart. It is made once, and never changed but for the bookkeeping at
// its end.
type class struct {
	// pod is one of them. Only what the key covers may be read.
	pod  *v1.Pod
	key  string
	load *load

	required     nodeaffinity.RequiredNodeAffinity
	selectsNodes bool
	named        []string // the only nodes that it can be on; nil for any
	preferred    *nodeaffinity.PreferredSchedulingTerms
	tolerations  []v1.Toleration
	// softTolerations are those that count against taints that are only
	// asked to be avoided.
	softTolerations []v1.Toleration
	images          []string
	// terms are those of affinity to other pods; nil if there are none.
	terms *podTerms
	// coupled pods have verdicts on a node that depend on other nodes.
	coupled bool
	// claims: the pods have volumes that must be bound.
	claims bool

	ranking *ranking
	// pods of the class that the queue holds.
	queued int
	// waiting are those that fit nowhere, the first to be tried first; woken
	// is the one of them that is being tried again.
	waiting itemHeap
	woken   *item
	// vain is what was last found of making room for a pod of the class.
	vain vain
}

func newClass(pod *v1.Pod, key string) *class {
	spec := &pod.Spec
	c := &class{
		pod:         pod,
		key:         key,
		load:        loadOf(pod),
		required:    nodeaffinity.GetRequiredNodeAffinity(pod),
		named:       namedNodes(pod),
		tolerations: spec.Tolerations,
		terms:       podTermsOf(pod),
		waiting:     itemHeap{less: before},
	}
	c.claims = hasClaims(pod)
	c.coupled = c.terms != nil || c.claims || len(spec.TopologySpreadConstraints) > 0
	c.selectsNodes = len(spec.NodeSelector) > 0
	if a := spec.Affinity; a != nil && a.NodeAffinity != nil {
		c.selectsNodes = c.selectsNodes || a.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution != nil
		// Terms that cannot be parsed are not preferred; the API refuses them.
		if terms := a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution; len(terms) > 0 {
			c.preferred, _ = nodeaffinity.NewPreferredSchedulingTerms(terms)
		}
	}
	for _, t := range spec.Tolerations {
		if t.Effect == "" || t.Effect == v1.TaintEffectPreferNoSchedule {
			c.softTolerations = append(c.softTolerations, t)
		}
	}
	for i := range spec.InitContainers {
		c.images = append(c.images, normalImage(spec.InitContainers[i].Image))
	}
	for i := range spec.Containers {
		c.images = append(c.images, normalImage(spec.Containers[i].Image))
	}
	return c
}

// classKey encodes all of a pod that a plugin may look at. Labels and namespace
// are left out unless the pod's own terms look at them: other pods' terms that
// match it are found for each pod.
func classKey(b []byte, pod *v1.Pod) []byte {
	spec := &pod.Spec
	b = appendString(b, spec.NodeName)
	b = appendBool(b, neverPreempts(pod))
	b = appendBool(b, hasClaims(pod))
	b = appendLabels(b, spec.NodeSelector)
	b = binary.AppendUvarint(b, uint64(len(spec.Tolerations)))
	for i := range spec.Tolerations {
		t := &spec.Tolerations[i]
		b = appendString(b, t.Key)
		b = appendString(b, string(t.Operator))
		b = appendString(b, t.Value)
		b = appendString(b, string(t.Effect))
	}
	b = appendContainers(b, spec.InitContainers)
	b = appendContainers(b, spec.Containers)
	b = appendAmounts(b, spec.Overhead)
	if spec.Resources != nil {
		b = appendAmounts(b, spec.Resources.Requests)
		b = appendAmounts(b, spec.Resources.Limits)
	}
	if spec.Affinity != nil {
		b = append(b, 1)
		b = appendMessage(b, spec.Affinity)
	}
	if len(spec.TopologySpreadConstraints) > 0 {
		b = append(b, 2)
		for i := range spec.TopologySpreadConstraints {
			b = appendMessage(b, &spec.TopologySpreadConstraints[i])
		}
	}
	if a := spec.Affinity; len(spec.TopologySpreadConstraints) > 0 || a != nil && (a.PodAffinity != nil || a.PodAntiAffinity != nil) {
		b = appendString(b, pod.Namespace)
		b = appendLabels(b, pod.Labels)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, is bool) []byte {
	if is {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendLabels(b []byte, labels map[string]string) []byte {
	b = binary.AppendUvarint(b, uint64(len(labels)))
	var few [8]string
	keys := few[:0]
	for k := range labels {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		b = appendString(appendString(b, k), labels[k])
	}
	return b
}

func appendAmounts(b []byte, list v1.ResourceList) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	var few [8]string
	names := few[:0]
	for name := range list {
		names = append(names, string(name))
	}
	slices.Sort(names)
	for _, name := range names {
		q := list[v1.ResourceName(name)]
		b = binary.AppendVarint(appendString(b, name), q.MilliValue())
	}
	return b
}

func appendContainers(b []byte, containers []v1.Container) []byte {
	b = binary.AppendUvarint(b, uint64(len(containers)))
	for i := range containers {
		c := &containers[i]
		b = appendString(b, c.Image)
		b = appendAmounts(b, c.Resources.Requests)
		restarts := c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways
		b = appendBool(b, restarts)
		for j := range c.Ports {
			if p := &c.Ports[j]; p.HostPort > 0 {
				b = binary.AppendUvarint(b, uint64(p.HostPort))
				b = appendString(b, p.HostIP)
				b = appendString(b, string(p.Protocol))
			}
		}
		b = append(b, 0)
	}
	return b
}

// appendMessage encodes what is seldom there by its own codec.
func appendMessage(b []byte, m interface{ Marshal() ([]byte, error) }) []byte {
	data, err := m.Marshal()
	if err != nil { // never for these types
		return appendString(b, err.Error())
	}
	return append(binary.AppendUvarint(b, uint64(len(data))), data...)
}

const (
	// classesKept bounds the classes that are kept though no pod of them is
	// queued, rankingsKept the classes that keep a ranking.
	classesKept  = 256
	rankingsKept = 64
)

// classes finds the class of a pod.
type classes struct {
	byKey  map[string]*class
	idle   []*class // without queued pods, longest first
	ranked []*class // with a ranking, longest unused first
	buf    []byte
}

// of returns the class of a pod that is about to be queued; leave is its
// counterpart.
func (cs *classes) of(pod *v1.Pod) *class {
	cs.buf = classKey(cs.buf[:0], pod)
	c := cs.byKey[string(cs.buf)]
	if c == nil {
		c = newClass(pod, string(cs.buf))
		if cs.byKey == nil {
			cs.byKey = map[string]*class{}
		}
		cs.byKey[c.key] = c
	} else if c.queued == 0 {
		if i := slices.Index(cs.idle, c); i >= 0 {
			cs.idle = slices.Delete(cs.idle, i, i+1)
		}
	}
	c.queued++
	return c
}

func (cs *classes) leave(c *class) {
	if c.queued--; c.queued > 0 {
		return
	}
	cs.idle = append(cs.idle, c)
	if len(cs.idle) > classesKept {
		old := cs.idle[0]
		cs.idle = slices.Delete(cs.idle, 0, 1)
		delete(cs.byKey, old.key)
		if i := slices.Index(cs.ranked, old); i >= 0 {
			cs.ranked = slices.Delete(cs.ranked, i, i+1)
			old.ranking = nil
		}
	}
}

// use returns the class's ranking, and drops that of another one if there are
// too many.
func (cs *classes) use(c *class) *ranking {
	if n := len(cs.ranked); n > 0 && cs.ranked[n-1] == c {
		return c.ranking
	}
	if i := slices.Index(cs.ranked, c); i >= 0 {
		cs.ranked = slices.Delete(cs.ranked, i, i+1)
	} else if len(cs.ranked) < rankingsKept {
		c.ranking = &ranking{class: c}
	} else {
		old := cs.ranked[0]
		cs.ranked = slices.Delete(cs.ranked, 0, 1)
		old.ranking.hand(c)
	}
	cs.ranked = append(cs.ranked, c)
	return c.ranking
}
