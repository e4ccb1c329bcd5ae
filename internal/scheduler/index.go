package scheduler

import (
	"maps"
	"slices"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
)

// node is what the plugins look at: a node object and all that is on it.
type node struct {
	name string
	// obj is nil while pods on the node are known, but not the node itself.
	obj *v1.Node
	pos int // in index.nodes

	// A change of the object raises both, one of its pods only generation.
	static, generation uint64
	newer, older       *node // by generation

	allocatable resources
	maxPods     int
	hard        []v1.Taint // that keep pods away
	soft        []v1.Taint // that pods prefer to avoid
	images      map[string]int64

	pods map[types.UID]*placed
	// What the pods take, together; count is how many they are.
	count                 int
	requested             resources
	scoreCPU, scoreMemory int64
	ports                 []hostPort
}

// placed is a pod on a node. Pods of one class share their load.
type placed struct {
	pod  *v1.Pod
	node *node
	load *load
	// terms are those of its affinity to other pods; nil if it has none.
	terms    *podTerms
	priority int32
	// assumed means that the API has not said so yet.
	assumed bool
	// going means that the pod was chosen to make room for another.
	going bool
}

// index is all that is known of the cluster. Its owner guards it.
type index struct {
	byName map[string]*node
	nodes  []*node // those with an object, in the order they came
	pods   map[types.UID]*placed

	generation uint64
	newest     *node  // first of the list of all nodes, by generation
	set        uint64 // raised when nodes come or go
	imageSet   uint64 // raised when images come to nodes or go

	imageNodes map[string]int // how many nodes have an image
	affine     map[types.UID]*placed
	priorities map[int32]int // how many pods have a priority
}

func newIndex() *index {
	return &index{
		byName:     map[string]*node{},
		pods:       map[types.UID]*placed{},
		imageNodes: map[string]int{},
		affine:     map[types.UID]*placed{},
		priorities: map[int32]int{},
	}
}

// touch makes n the newest.
func (x *index) touch(n *node) {
	x.generation++
	n.generation = x.generation
	if x.newest == n {
		return
	}
	x.unlink(n)
	n.older = x.newest
	if x.newest != nil {
		x.newest.newer = n
	}
	x.newest = n
}

func (x *index) unlink(n *node) {
	if n.newer != nil {
		n.newer.older = n.older
	}
	if n.older != nil {
		n.older.newer = n.newer
	}
	if x.newest == n {
		x.newest = n.older
	}
	n.newer, n.older = nil, nil
}

func (x *index) node(name string) *node {
	n := x.byName[name]
	if n == nil {
		n = &node{name: name, pos: -1, pods: map[types.UID]*placed{}}
		x.byName[name] = n
	}
	return n
}

// setNode takes in a node object. It returns nil if nothing changed that
// scheduling depends on: a heartbeat, for example.
func (x *index) setNode(obj *v1.Node) *node {
	n := x.node(obj.Name)
	if old := n.obj; old != nil {
		n.obj = obj
		if sameForScheduling(old, obj) {
			return nil
		}
	} else {
		n.obj = obj
		n.pos = len(x.nodes)
		x.nodes = append(x.nodes, n)
		x.set++
	}
	n.allocatable = resourcesOf(obj.Status.Allocatable)
	n.maxPods = int(obj.Status.Allocatable.Pods().Value())
	n.hard, n.soft = nil, nil
	for _, t := range obj.Spec.Taints {
		switch t.Effect {
		case v1.TaintEffectNoSchedule, v1.TaintEffectNoExecute:
			n.hard = append(n.hard, t)
		case v1.TaintEffectPreferNoSchedule:
			n.soft = append(n.soft, t)
		}
	}
	x.setImages(n, obj.Status.Images)
	x.touch(n)
	n.static = n.generation
	return n
}

func sameForScheduling(a, b *v1.Node) bool {
	return a.Spec.Unschedulable == b.Spec.Unschedulable &&
		maps.Equal(a.Labels, b.Labels) &&
		slices.EqualFunc(a.Spec.Taints, b.Spec.Taints, func(s, t v1.Taint) bool {
			return s.Key == t.Key && s.Value == t.Value && s.Effect == t.Effect
		}) &&
		equality.Semantic.DeepEqual(a.Status.Allocatable, b.Status.Allocatable) &&
		slices.EqualFunc(a.Status.Images, b.Status.Images, func(i, j v1.ContainerImage) bool {
			return i.SizeBytes == j.SizeBytes && slices.Equal(i.Names, j.Names)
		})
}

func (x *index) setImages(n *node, images []v1.ContainerImage) {
	if len(n.images) == 0 && len(images) == 0 {
		return
	}
	x.imageSet++
	for name := range n.images {
		if x.imageNodes[name]--; x.imageNodes[name] == 0 {
			delete(x.imageNodes, name)
		}
	}
	n.images = make(map[string]int64, len(images))
	for _, i := range images {
		for _, name := range i.Names {
			n.images[name] = i.SizeBytes
		}
	}
	for name := range n.images {
		x.imageNodes[name]++
	}
}

// removeNode forgets the node object; pods on it are kept until they go.
func (x *index) removeNode(name string) {
	n := x.byName[name]
	if n == nil || n.obj == nil {
		return
	}
	x.setImages(n, nil)
	x.nodes = slices.Delete(x.nodes, n.pos, n.pos+1)
	for i := n.pos; i < len(x.nodes); i++ {
		x.nodes[i].pos = i
	}
	n.obj, n.pos = nil, -1
	x.set++
	x.drop(n)
}

// drop forgets a node of which nothing is left.
func (x *index) drop(n *node) {
	if n.obj == nil && len(n.pods) == 0 {
		x.unlink(n)
		delete(x.byName, n.name)
	}
}

// place puts a pod on a node. If it is there already, it only replaces the
// object and what has changed; it returns nil if nothing has.
func (x *index) place(pod *v1.Pod, nodeName string, l *load, terms *podTerms, assumed bool) *node {
	going := false
	if old := x.pods[pod.UID]; old != nil {
		if old.node.name == nodeName && old.load.equal(l) && maps.Equal(old.pod.Labels, pod.Labels) && (old.pod.DeletionTimestamp == nil) == (pod.DeletionTimestamp == nil) {
			old.pod, old.assumed = pod, assumed
			return nil
		}
		going = old.going && old.node.name == nodeName
		x.remove(pod.UID)
	}
	n := x.node(nodeName)
	p := &placed{pod: pod, node: n, load: l, terms: terms, priority: priorityOf(pod), assumed: assumed, going: going}
	x.pods[pod.UID], n.pods[pod.UID] = p, p
	if terms != nil {
		x.affine[pod.UID] = p
	}
	x.priorities[p.priority]++
	n.take(l)
	x.touch(n)
	return n
}

// take counts a pod's load to what the node's pods take, and give takes it off.
func (n *node) take(l *load) {
	n.count++
	n.requested.add(&l.requests, 1)
	n.scoreCPU += l.scoreCPU
	n.scoreMemory += l.scoreMemory
	n.ports = append(n.ports, l.ports...)
}

func (n *node) give(l *load) {
	n.count--
	n.requested.add(&l.requests, -1)
	n.scoreCPU -= l.scoreCPU
	n.scoreMemory -= l.scoreMemory
	for _, port := range l.ports {
		if i := slices.Index(n.ports, port); i >= 0 {
			n.ports = slices.Delete(n.ports, i, i+1)
		}
	}
}

// anyBelow tells whether a pod of a lower priority is on some node.
func (x *index) anyBelow(priority int32) bool {
	for p := range x.priorities {
		if p < priority {
			return true
		}
	}
	return false
}

// remove takes a pod off its node, which it returns; nil if it was on none.
func (x *index) remove(uid types.UID) *node {
	p := x.pods[uid]
	if p == nil {
		return nil
	}
	n := p.node
	delete(x.pods, uid)
	delete(n.pods, uid)
	delete(x.affine, uid)
	if x.priorities[p.priority]--; x.priorities[p.priority] == 0 {
		delete(x.priorities, p.priority)
	}
	n.give(p.load)
	x.touch(n)
	x.drop(n)
	return n
}
