// Package node keeps the Node object and its Lease: it registers the node,
// tells what it is made of and how it does, and gives a sign of life.
package node

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/kubernetes"
	internalapi "k8s.io/cri-api/pkg/apis"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/utils/clock"

	"clipper/internal/kubelet/event"
)

const (
	// leaseSeconds is how long the node counts as alive without a sign of it,
	// leaseEvery how often it gives one.
	leaseSeconds = 40
	leaseEvery   = 10 * time.Second
	// statusEvery is how often the node's status is written without a change.
	statusEvery = 5 * time.Minute
	// maxImages is how many images the status lists, the largest first.
	maxImages = 50
)

// Config of a Node.
type Config struct {
	Client  kubernetes.Interface
	Runtime internalapi.RuntimeService
	Images  internalapi.ImageManagerService
	Events  *event.Recorder

	Name, Hostname string
	// IPs of the node, the primary one first.
	IPs []string
	// Port of the node's API, or 0.
	Port    int32
	PodCIDR string
	Labels  map[string]string
	Taints  []v1.Taint
	// Version of the node agent; OSImage overrides the machine's.
	Version, OSImage string
	MaxPods          int
	Reserved         v1.ResourceList
	Pressure         Pressure
	RootDir, LogDir  string
	Machine          Machine

	// Tick, if set, is called with each renewal of the lease.
	Tick   func(context.Context)
	Clock  clock.WithTicker
	Logger *slog.Logger
}

// Node is this node, as the API is to see it.
type Node struct {
	Config
	// dirty asks for the status to be looked at again.
	dirty chan struct{}
	// seen is what the API last told of the node, until it is looked at.
	seen atomic.Pointer[v1.Node]
	// removed is the node that was last deleted from the API.
	removed atomic.Pointer[types.UID]
	// pressure is when the node was last seen to suffer; Run's alone.
	pressure map[v1.NodeConditionType]time.Time
}

// New returns a Node that is not registered yet.
func New(c Config) *Node {
	return &Node{Config: c, dirty: make(chan struct{}, 1), pressure: map[v1.NodeConditionType]time.Time{}}
}

// OwnLabels are the labels that the node agent sets.
func (n *Node) OwnLabels() map[string]string {
	l := map[string]string{
		v1.LabelHostname:          n.Hostname,
		v1.LabelOSStable:          runtime.GOOS,
		v1.LabelArchStable:        runtime.GOARCH,
		"beta.kubernetes.io/os":   runtime.GOOS,
		"beta.kubernetes.io/arch": runtime.GOARCH,
	}
	maps.Copy(l, n.Labels)
	return l
}

// capacity of the node.
func (n *Node) capacity() v1.ResourceList {
	m := &n.Machine
	c := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(m.CPUs, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(m.Memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(m.Disk, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(int64(n.MaxPods), resource.DecimalSI),
	}
	for size, bytes := range m.HugePages {
		c[v1.ResourceName(v1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
	return c
}

// Allocatable is the capacity without what is reserved, and without what must
// stay free for the node to be well; huge pages are no ordinary memory.
func (n *Node) Allocatable() v1.ResourceList {
	a := n.capacity()
	memory := a[v1.ResourceMemory]
	for name, q := range a {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			memory.Sub(q)
		}
	}
	if memory.Sub(*resource.NewQuantity(n.Pressure.Memory, resource.BinarySI)); memory.Sign() < 0 {
		memory = resource.Quantity{}
	}
	a[v1.ResourceMemory] = memory
	disk := float64(n.Machine.Disk) * (100 - n.Pressure.Disk) / 100
	a[v1.ResourceEphemeralStorage] = *resource.NewQuantity(int64(disk), resource.BinarySI)
	for name, r := range n.Reserved {
		if q, ok := a[name]; ok {
			if q.Sub(r); q.Sign() < 0 {
				q = resource.Quantity{}
			}
			a[name] = q
		}
	}
	return a
}

// advertise adds to st the extended resources that somebody else wrote into the
// node's capacity ("Advertise Extended Resources for a Node"): all there is of them is allocatable.
func advertise(st, old *v1.NodeStatus) {
	for name, q := range old.Capacity {
		if _, own := st.Capacity[name]; own || !extended(name) {
			continue
		}
		st.Capacity[name], st.Allocatable[name] = q, q
	}
}

// extended tells whether a resource is of others than Kubernetes.
func extended(name v1.ResourceName) bool {
	domain, _, ok := strings.Cut(string(name), "/")
	return ok && !strings.HasSuffix(domain, "kubernetes.io")
}

// status returns the node's status; old gives the times of its conditions.
func (n *Node) status(ctx context.Context, old *v1.NodeStatus) v1.NodeStatus {
	m := &n.Machine
	st := v1.NodeStatus{
		Capacity:    n.capacity(),
		Allocatable: n.Allocatable(),
		NodeInfo: v1.NodeSystemInfo{
			MachineID: m.MachineID, SystemUUID: m.SystemUUID, BootID: m.BootID,
			KernelVersion: m.Kernel, OSImage: m.OSImage,
			ContainerRuntimeVersion: n.runtimeVersion(ctx),
			KubeletVersion:          n.Version,
			OperatingSystem:         runtime.GOOS, Architecture: runtime.GOARCH,
		},
		Images:          n.imageList(ctx),
		Phase:           old.Phase,
		VolumesAttached: old.VolumesAttached,
		VolumesInUse:    old.VolumesInUse,
		Config:          old.Config,
	}
	if n.OSImage != "" {
		st.NodeInfo.OSImage = n.OSImage
	}
	if m.Swap > 0 {
		st.NodeInfo.Swap = &v1.NodeSwapStatus{Capacity: &m.Swap}
	}
	for _, ip := range n.IPs {
		st.Addresses = append(st.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	st.Addresses = append(st.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: n.Hostname})
	st.DaemonEndpoints.KubeletEndpoint.Port = n.Port
	st.RuntimeHandlers, st.Features = n.handlers(ctx)
	st.Conditions = n.conditions(ctx, old)
	advertise(&st, old)
	return st
}

func (n *Node) runtimeVersion(ctx context.Context) string {
	v, err := n.Runtime.Version(ctx, "v1")
	if err != nil {
		return ""
	}
	return v.RuntimeName + "://" + v.RuntimeVersion
}

func (n *Node) handlers(ctx context.Context) ([]v1.NodeRuntimeHandler, *v1.NodeFeatures) {
	st, err := n.Runtime.Status(ctx, false)
	if err != nil {
		return nil, nil
	}
	var list []v1.NodeRuntimeHandler
	for _, h := range st.RuntimeHandlers {
		r := v1.NodeRuntimeHandler{Name: h.Name}
		if f := h.Features; f != nil {
			r.Features = &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &f.RecursiveReadOnlyMounts, UserNamespaces: &f.UserNamespaces}
		}
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b v1.NodeRuntimeHandler) int { return strings.Compare(a.Name, b.Name) })
	if f := st.Features; f != nil {
		return list, &v1.NodeFeatures{SupplementalGroupsPolicy: &f.SupplementalGroupsPolicy}
	}
	return list, nil
}

func (n *Node) imageList(ctx context.Context) []v1.ContainerImage {
	list, err := n.Images.ListImages(ctx, nil)
	if err != nil {
		return nil
	}
	slices.SortFunc(list, func(a, b *runtimeapi.Image) int {
		if a.Size != b.Size {
			if a.Size > b.Size {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Id, b.Id)
	})
	out := make([]v1.ContainerImage, 0, min(len(list), maxImages))
	for _, im := range list {
		names := append(slices.Clone(im.RepoDigests), im.RepoTags...)
		if len(names) == 0 {
			continue
		}
		out = append(out, v1.ContainerImage{Names: names[:min(len(names), 5)], SizeBytes: int64(im.Size)})
		if len(out) == maxImages {
			break
		}
	}
	return out
}

// conditions of the node. Heartbeats are stamped when the status is written.
func (n *Node) conditions(ctx context.Context, old *v1.NodeStatus) []v1.NodeCondition {
	now := metav1.NewTime(n.Clock.Now().Truncate(time.Second))
	list := slices.Clone(old.Conditions)
	set := func(kind v1.NodeConditionType, on bool, reason, message string) {
		c := v1.NodeCondition{Type: kind, Status: v1.ConditionFalse, Reason: reason, Message: message,
			LastHeartbeatTime: now, LastTransitionTime: now}
		if on {
			c.Status = v1.ConditionTrue
		}
		i := slices.IndexFunc(list, func(o v1.NodeCondition) bool { return o.Type == kind })
		if i < 0 {
			list = append(list, c)
			return
		}
		if list[i].Status == c.Status {
			c.LastTransitionTime = list[i].LastTransitionTime
		}
		list[i] = c
	}
	pressed := n.pressed()
	if pressed[v1.NodeMemoryPressure] {
		set(v1.NodeMemoryPressure, true, "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
	} else {
		set(v1.NodeMemoryPressure, false, "KubeletHasSufficientMemory", "kubelet has sufficient memory available")
	}
	if pressed[v1.NodeDiskPressure] {
		set(v1.NodeDiskPressure, true, "KubeletHasDiskPressure", "kubelet has disk pressure")
	} else {
		set(v1.NodeDiskPressure, false, "KubeletHasNoDiskPressure", "kubelet has no disk pressure")
	}
	set(v1.NodePIDPressure, false, "KubeletHasSufficientPID", "kubelet has sufficient PID available")
	if trouble := n.trouble(ctx); trouble != "" {
		set(v1.NodeReady, false, "KubeletNotReady", trouble)
	} else {
		set(v1.NodeReady, true, "KubeletReady", "kubelet is posting ready status")
	}
	return list
}

// trouble says why the node cannot run pods, or nothing.
func (n *Node) trouble(ctx context.Context) string {
	st, err := n.Runtime.Status(ctx, false)
	if err != nil {
		return fmt.Sprintf("container runtime status check may not have completed yet: %v", err)
	}
	if st.Status == nil {
		return ""
	}
	var errs []string
	for _, c := range st.Status.Conditions {
		if c.Status {
			continue
		}
		switch c.Type {
		case runtimeapi.RuntimeReady:
			errs = append(errs, fmt.Sprintf("container runtime not ready: RuntimeReady=false reason:%s message:%s", c.Reason, c.Message))
		case runtimeapi.NetworkReady:
			errs = append(errs, fmt.Sprintf("container runtime network not ready: NetworkReady=false reason:%s message:%s", c.Reason, c.Message))
		}
	}
	return strings.Join(errs, ", ")
}

// Changed has the node's status looked at again. It never blocks.
func (n *Node) Changed() {
	select {
	case n.dirty <- struct{}{}:
	default:
	}
}

// Saw tells what the API says of the node. It never blocks.
func (n *Node) Saw(node *v1.Node) {
	n.seen.Store(node)
	n.Changed()
}

// Removed tells that the node was deleted from the API. It never blocks.
func (n *Node) Removed(uid types.UID) {
	n.removed.Store(&uid)
	n.Changed()
}

// gone tells whether a node is the one that was deleted.
func (n *Node) gone(node *v1.Node) bool {
	uid := n.removed.Load()
	return uid != nil && *uid == node.UID
}

// Run registers the node, closes registered, and keeps the lease and the
// status fresh until ctx ends. A node that somebody deletes stays away until
// the next Run, as upstream's does, or until somebody creates it.
func (n *Node) Run(ctx context.Context, registered chan<- struct{}) error {
	const first, most = 50 * time.Millisecond, 5 * time.Second
	var node *v1.Node
	for delay := first; ; delay = min(2*delay, most) {
		var err error
		if node, err = n.register(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		n.Logger.Warn("node not registered", "node", n.Name, "err", err, "retryIn", delay)
		if !n.sleep(ctx, delay) {
			return nil
		}
	}
	n.Events.Node(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	n.tell(nil, node)
	ticker := n.Clock.NewTicker(leaseEvery)
	defer ticker.Stop()
	close(registered)

	l := &lease{n: n, owner: node.UID}
	wrote := n.Clock.Now()
	renew := func() {
		if err := l.renew(ctx); err != nil && ctx.Err() == nil {
			n.Logger.Warn("node lease not renewed", "err", err)
		}
	}
	renew()
	away := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.dirty:
		case <-ticker.C():
			if !away {
				renew()
			}
			if n.Tick != nil {
				n.Tick(ctx)
			}
		}
		if seen := n.seen.Swap(nil); seen != nil && (n.gone(node) || newer(seen, node)) {
			n.tellSchedulable(node, seen)
			if node = seen; node.UID != l.owner {
				l = &lease{n: n, owner: node.UID}
			}
		}
		if was := away; n.gone(node) {
			if away = true; !was {
				n.Logger.Warn("node was deleted from the API; a restart of its agent registers it again", "node", n.Name)
			}
			continue
		}
		if away {
			away = false
			renew()
		}
		now := n.Clock.Now()
		fresh, err := n.refresh(ctx, node, now.Sub(wrote) >= statusEvery)
		switch {
		case apierrors.IsNotFound(err):
			n.Removed(node.UID)
		case err != nil && ctx.Err() == nil:
			n.Logger.Warn("node status not written", "err", err)
		case fresh != nil:
			n.tell(node, fresh)
			node, wrote = fresh, now
		}
	}
}

// newer tells whether a is a later state than b.
func newer(a, b *v1.Node) bool {
	order, err := resourceversion.CompareResourceVersion(a.ResourceVersion, b.ResourceVersion)
	return err == nil && order > 0
}

// tells are the events that tell of a condition's status.
var tells = []struct {
	condition v1.NodeConditionType
	status    v1.ConditionStatus
	reason    string
}{
	{v1.NodeMemoryPressure, v1.ConditionFalse, "NodeHasSufficientMemory"},
	{v1.NodeMemoryPressure, v1.ConditionTrue, "NodeHasInsufficientMemory"},
	{v1.NodeDiskPressure, v1.ConditionFalse, "NodeHasNoDiskPressure"},
	{v1.NodeDiskPressure, v1.ConditionTrue, "NodeHasDiskPressure"},
	{v1.NodePIDPressure, v1.ConditionFalse, "NodeHasSufficientPID"},
	{v1.NodePIDPressure, v1.ConditionTrue, "NodeHasInsufficientPID"},
	{v1.NodeReady, v1.ConditionTrue, "NodeReady"},
	{v1.NodeReady, v1.ConditionFalse, "NodeNotReady"},
}

// tell records an event for each condition that has changed. That a new node is
// not ready yet is no news.
func (n *Node) tell(was, is *v1.Node) {
	status := func(n *v1.Node, t v1.NodeConditionType) v1.ConditionStatus {
		if n != nil {
			for i := range n.Status.Conditions {
				if c := &n.Status.Conditions[i]; c.Type == t {
					return c.Status
				}
			}
		}
		if t == v1.NodeReady {
			return v1.ConditionFalse
		}
		return ""
	}
	for _, t := range tells {
		if status(is, t.condition) == t.status && status(was, t.condition) != t.status {
			n.isNow(t.reason)
		}
	}
	n.tellSchedulable(was, is)
}

// tellSchedulable records an event if the node was cordoned or uncordoned.
func (n *Node) tellSchedulable(was, is *v1.Node) {
	switch before := was != nil && was.Spec.Unschedulable; {
	case is.Spec.Unschedulable && !before:
		n.isNow("NodeNotSchedulable")
	case before && !is.Spec.Unschedulable:
		n.isNow("NodeSchedulable")
	}
}

func (n *Node) isNow(reason string) {
	n.Events.Node(v1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", n.Name, reason))
}

func (n *Node) sleep(ctx context.Context, d time.Duration) bool {
	t := n.Clock.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-ctx.Done():
		return false
	}
}

// register creates the node's object, status and all, or brings one that is
// there up to date.
func (n *Node) register(ctx context.Context) (*v1.Node, error) {
	nodes := n.Client.CoreV1().Nodes()
	want := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: n.Name, Labels: n.OwnLabels(),
			Annotations: map[string]string{
				"volumes.kubernetes.io/controller-managed-attach-detach": "true",
				v1.ObjectTTLAnnotationKey:                                "0", // what pods refer to is watched, and never out of date
			},
		},
		Spec: v1.NodeSpec{Taints: n.Taints},
	}
	if n.PodCIDR != "" {
		want.Spec.PodCIDR, want.Spec.PodCIDRs = n.PodCIDR, strings.Split(n.PodCIDR, ",")
		want.Spec.PodCIDR = want.Spec.PodCIDRs[0]
	}
	want.Status = n.status(ctx, &v1.NodeStatus{})
	node, err := nodes.Create(ctx, want, metav1.CreateOptions{})
	if err == nil {
		if len(node.Status.Conditions) > 0 {
			return node, nil
		}
	} else if apierrors.IsAlreadyExists(err) {
		if node, err = nodes.Get(ctx, n.Name, metav1.GetOptions{}); err != nil {
			return nil, err
		}
		labels := map[string]string{}
		for key, value := range want.Labels {
			if node.Labels[key] != value {
				labels[key] = value
			}
		}
		if len(labels) > 0 {
			patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"labels": labels}})
			if err != nil {
				return nil, err
			}
			if node, err = nodes.Patch(ctx, n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return nil, err
			}
		}
	} else {
		return nil, err
	}
	fresh, err := n.refresh(ctx, node, true)
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// refresh writes the node's status if it changed, or if forced. It returns the
// node as written, or nil.
func (n *Node) refresh(ctx context.Context, node *v1.Node, force bool) (*v1.Node, error) {
	st := n.status(ctx, &node.Status)
	if !force && sameNodeStatus(&node.Status, &st) {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID},
		"status": map[string]any{
			"capacity": st.Capacity, "allocatable": amounts(st.Allocatable, node.Status.Allocatable),
			"conditions":      owned(st.Conditions),
			"addresses":       append([]any{map[string]string{"$patch": "replace"}}, anys(st.Addresses)...),
			"daemonEndpoints": st.DaemonEndpoints, "nodeInfo": st.NodeInfo, "images": st.Images,
			"runtimeHandlers": st.RuntimeHandlers, "features": st.Features,
		},
	})
	if err != nil {
		return nil, err
	}
	return n.Client.CoreV1().Nodes().Patch(ctx, n.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// amounts is a patch's value that makes old into list.
func amounts(list, old v1.ResourceList) map[v1.ResourceName]any {
	out := make(map[v1.ResourceName]any, len(list))
	for name := range old {
		out[name] = nil
	}
	for name, q := range list {
		out[name] = q
	}
	return out
}

// owned leaves the conditions that the kubelet decides.
func owned(list []v1.NodeCondition) []v1.NodeCondition {
	return slices.DeleteFunc(slices.Clone(list), func(c v1.NodeCondition) bool {
		switch c.Type {
		case v1.NodeReady, v1.NodeMemoryPressure, v1.NodeDiskPressure, v1.NodePIDPressure:
			return false
		}
		return true
	})
}

func anys[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// sameNodeStatus compares all but the heartbeats.
func sameNodeStatus(a, b *v1.NodeStatus) bool {
	x, y := *a, *b
	still := func(list []v1.NodeCondition) []v1.NodeCondition {
		list = owned(list)
		for i := range list {
			list[i].LastHeartbeatTime, list[i].LastTransitionTime = metav1.Time{}, metav1.Time{}
		}
		slices.SortFunc(list, func(a, b v1.NodeCondition) int { return strings.Compare(string(a.Type), string(b.Type)) })
		return list
	}
	x.Conditions, y.Conditions = still(x.Conditions), still(y.Conditions)
	return apiequality.Semantic.DeepEqual(x, y)
}
