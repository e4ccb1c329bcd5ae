package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"

	coordv1 "k8s.io/api/coordination/v1"
	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
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

// labels of the node that the kubelet sets.
func (k *Kubelet) labels() map[string]string {
	l := map[string]string{
		v1.LabelHostname:          k.Hostname,
		v1.LabelOSStable:          runtime.GOOS,
		v1.LabelArchStable:        runtime.GOARCH,
		"beta.kubernetes.io/os":   runtime.GOOS,
		"beta.kubernetes.io/arch": runtime.GOARCH,
	}
	maps.Copy(l, k.Labels)
	return l
}

// capacity of the node.
func (k *Kubelet) capacity() v1.ResourceList {
	m := &k.machine
	c := v1.ResourceList{
		v1.ResourceCPU:              *resource.NewQuantity(m.cpus, resource.DecimalSI),
		v1.ResourceMemory:           *resource.NewQuantity(m.memory, resource.BinarySI),
		v1.ResourceEphemeralStorage: *resource.NewQuantity(m.disk, resource.BinarySI),
		v1.ResourcePods:             *resource.NewQuantity(int64(k.MaxPods), resource.DecimalSI),
	}
	for size, bytes := range m.hugePages {
		c[v1.ResourceName(v1.ResourceHugePagesPrefix+size)] = *resource.NewQuantity(bytes, resource.BinarySI)
	}
	return c
}

// allocatable is the capacity without what is reserved, huge pages being no
// ordinary memory.
func (k *Kubelet) allocatable() v1.ResourceList {
	a := k.capacity()
	memory := a[v1.ResourceMemory]
	for name, q := range a {
		if strings.HasPrefix(string(name), v1.ResourceHugePagesPrefix) {
			memory.Sub(q)
		}
	}
	a[v1.ResourceMemory] = memory
	for name, r := range k.Reserved {
		if q, ok := a[name]; ok {
			if q.Sub(r); q.Sign() < 0 {
				q = resource.Quantity{}
			}
			a[name] = q
		}
	}
	return a
}

// status returns the node's status; old gives the times of its conditions.
func (k *Kubelet) status(ctx context.Context, old *v1.NodeStatus) v1.NodeStatus {
	m := &k.machine
	st := v1.NodeStatus{
		Capacity:    k.capacity(),
		Allocatable: k.node.Allocatable,
		NodeInfo: v1.NodeSystemInfo{
			MachineID: m.machineID, SystemUUID: m.systemUUID, BootID: m.bootID,
			KernelVersion: m.kernel, OSImage: m.osImage,
			ContainerRuntimeVersion: k.runtimeVersion(ctx),
			KubeletVersion:          k.Version,
			OperatingSystem:         runtime.GOOS, Architecture: runtime.GOARCH,
		},
		Images:          k.imageList(ctx),
		Phase:           old.Phase,
		VolumesAttached: old.VolumesAttached,
		VolumesInUse:    old.VolumesInUse,
		Config:          old.Config,
	}
	if k.OSImage != "" {
		st.NodeInfo.OSImage = k.OSImage
	}
	if m.swap > 0 {
		st.NodeInfo.Swap = &v1.NodeSwapStatus{Capacity: &m.swap}
	}
	for _, ip := range k.NodeIPs {
		st.Addresses = append(st.Addresses, v1.NodeAddress{Type: v1.NodeInternalIP, Address: ip})
	}
	st.Addresses = append(st.Addresses, v1.NodeAddress{Type: v1.NodeHostName, Address: k.Hostname})
	if k.Listener != nil {
		if ap, err := netip.ParseAddrPort(k.Listener.Addr().String()); err == nil {
			st.DaemonEndpoints.KubeletEndpoint.Port = int32(ap.Port())
		}
	}
	st.RuntimeHandlers, st.Features = k.handlers(ctx)
	st.Conditions = k.conditions(ctx, old)
	return st
}

func (k *Kubelet) runtimeVersion(ctx context.Context) string {
	v, err := k.Runtime.Version(ctx, "v1")
	if err != nil {
		return ""
	}
	return v.RuntimeName + "://" + v.RuntimeVersion
}

func (k *Kubelet) handlers(ctx context.Context) ([]v1.NodeRuntimeHandler, *v1.NodeFeatures) {
	st, err := k.Runtime.Status(ctx, false)
	if err != nil {
		return nil, nil
	}
	var list []v1.NodeRuntimeHandler
	for _, h := range st.RuntimeHandlers {
		n := v1.NodeRuntimeHandler{Name: h.Name}
		if f := h.Features; f != nil {
			n.Features = &v1.NodeRuntimeHandlerFeatures{RecursiveReadOnlyMounts: &f.RecursiveReadOnlyMounts, UserNamespaces: &f.UserNamespaces}
		}
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b v1.NodeRuntimeHandler) int { return strings.Compare(a.Name, b.Name) })
	if f := st.Features; f != nil {
		return list, &v1.NodeFeatures{SupplementalGroupsPolicy: &f.SupplementalGroupsPolicy}
	}
	return list, nil
}

func (k *Kubelet) imageList(ctx context.Context) []v1.ContainerImage {
	list, err := k.Images.ListImages(ctx, nil)
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
func (k *Kubelet) conditions(ctx context.Context, old *v1.NodeStatus) []v1.NodeCondition {
	now := metav1.NewTime(k.Clock.Now().Truncate(time.Second))
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
	pressed := k.pressed()
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
	if trouble := k.trouble(ctx); trouble != "" {
		set(v1.NodeReady, false, "KubeletNotReady", trouble)
	} else {
		set(v1.NodeReady, true, "KubeletReady", "kubelet is posting ready status")
	}
	return list
}

// trouble says why the node cannot run pods, or nothing.
func (k *Kubelet) trouble(ctx context.Context) string {
	st, err := k.Runtime.Status(ctx, false)
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

// imagesChanged has the node's status looked at again.
func (k *Kubelet) imagesChanged() {
	select {
	case k.dirty <- struct{}{}:
	default:
	}
}

// runNode registers the node and keeps its lease and status fresh.
func (k *Kubelet) runNode(ctx context.Context, registered chan<- struct{}) error {
	const first, most = 50 * time.Millisecond, 5 * time.Second
	var node *v1.Node
	for delay := first; ; delay = min(2*delay, most) {
		var err error
		if node, err = k.register(ctx); err == nil {
			break
		}
		if ctx.Err() != nil {
			return nil
		}
		k.Logger.Warn("node not registered", "node", k.NodeName, "err", err, "retryIn", delay)
		if !k.sleep(ctx, delay) {
			return nil
		}
	}
	k.events.onNode(v1.EventTypeNormal, "Starting", "Starting kubelet.")
	k.tellReady(nil, node)
	close(registered)

	l := &lease{k: k, owner: node.UID}
	wrote := k.Clock.Now()
	if err := l.renew(ctx); err != nil && ctx.Err() == nil {
		k.Logger.Warn("node lease not renewed", "err", err)
	}
	ticker := k.Clock.NewTicker(leaseEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-k.dirty:
		case <-ticker.C():
			if err := l.renew(ctx); err != nil && ctx.Err() == nil {
				k.Logger.Warn("node lease not renewed", "err", err)
			}
			k.rotateLogs(ctx)
		}
		now := k.Clock.Now()
		fresh, err := k.refresh(ctx, node, now.Sub(wrote) >= statusEvery)
		switch {
		case apierrors.IsNotFound(err):
			// Somebody deleted the node; it is still here.
			if fresh, err = k.register(ctx); err == nil {
				node, wrote = fresh, now
			}
		case err != nil && ctx.Err() == nil:
			k.Logger.Warn("node status not written", "err", err)
		case fresh != nil:
			k.tellReady(node, fresh)
			node, wrote = fresh, now
		}
	}
}

// tellReady records an event when the node became ready or stopped being so.
func (k *Kubelet) tellReady(was, is *v1.Node) {
	ready := func(n *v1.Node) bool {
		return n != nil && slices.ContainsFunc(n.Status.Conditions, func(c v1.NodeCondition) bool {
			return c.Type == v1.NodeReady && c.Status == v1.ConditionTrue
		})
	}
	switch now := ready(is); {
	case now == ready(was):
	case now:
		k.events.onNode(v1.EventTypeNormal, "NodeReady", fmt.Sprintf("Node %s status is now: NodeReady", k.NodeName))
	default:
		k.events.onNode(v1.EventTypeNormal, "NodeNotReady", fmt.Sprintf("Node %s status is now: NodeNotReady", k.NodeName))
	}
}

func (k *Kubelet) sleep(ctx context.Context, d time.Duration) bool {
	t := k.Clock.NewTimer(d)
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
func (k *Kubelet) register(ctx context.Context) (*v1.Node, error) {
	nodes := k.Client.CoreV1().Nodes()
	want := &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: k.NodeName, Labels: k.labels(),
			Annotations: map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
		},
		Spec: v1.NodeSpec{Taints: k.Taints},
	}
	if k.PodCIDR != "" {
		want.Spec.PodCIDR, want.Spec.PodCIDRs = k.PodCIDR, strings.Split(k.PodCIDR, ",")
		want.Spec.PodCIDR = want.Spec.PodCIDRs[0]
	}
	want.Status = k.status(ctx, &v1.NodeStatus{})
	node, err := nodes.Create(ctx, want, metav1.CreateOptions{})
	if err == nil {
		if len(node.Status.Conditions) > 0 {
			return node, nil
		}
	} else if apierrors.IsAlreadyExists(err) {
		if node, err = nodes.Get(ctx, k.NodeName, metav1.GetOptions{}); err != nil {
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
			if node, err = nodes.Patch(ctx, k.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
				return nil, err
			}
		}
	} else {
		return nil, err
	}
	fresh, err := k.refresh(ctx, node, true)
	if err != nil {
		return nil, err
	}
	return fresh, nil
}

// refresh writes the node's status if it changed, or if forced. It returns the
// node as written, or nil.
func (k *Kubelet) refresh(ctx context.Context, node *v1.Node, force bool) (*v1.Node, error) {
	st := k.status(ctx, &node.Status)
	if !force && sameNodeStatus(&node.Status, &st) {
		return nil, nil
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": node.UID},
		"status": map[string]any{
			"capacity": st.Capacity, "allocatable": st.Allocatable,
			"conditions":      owned(st.Conditions),
			"addresses":       append([]any{map[string]string{"$patch": "replace"}}, anys(st.Addresses)...),
			"daemonEndpoints": st.DaemonEndpoints, "nodeInfo": st.NodeInfo, "images": st.Images,
			"runtimeHandlers": st.RuntimeHandlers, "features": st.Features,
		},
	})
	if err != nil {
		return nil, err
	}
	return k.Client.CoreV1().Nodes().Patch(ctx, k.NodeName, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
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

// lease is the node's sign of life.
type lease struct {
	k     *Kubelet
	owner types.UID
	last  *coordv1.Lease
}

func (l *lease) renew(ctx context.Context) error {
	k := l.k
	leases := k.Client.CoordinationV1().Leases(v1.NamespaceNodeLease)
	now := metav1.NewMicroTime(k.Clock.Now())
	if l.last != nil {
		next := l.last.DeepCopy()
		next.Spec.RenewTime = &now
		got, err := leases.Update(ctx, next, metav1.UpdateOptions{})
		if err == nil {
			l.last = got
			return nil
		}
		l.last = nil
		if !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
			return err
		}
	}
	seconds := int32(leaseSeconds)
	want := &coordv1.Lease{
		ObjectMeta: metav1.ObjectMeta{
			Name: k.NodeName, Namespace: v1.NamespaceNodeLease,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: k.NodeName, UID: l.owner}},
		},
		Spec: coordv1.LeaseSpec{HolderIdentity: &k.NodeName, LeaseDurationSeconds: &seconds, RenewTime: &now},
	}
	got, err := leases.Create(ctx, want, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if got, err = leases.Get(ctx, k.NodeName, metav1.GetOptions{}); err == nil {
			got = got.DeepCopy()
			got.OwnerReferences, got.Spec = want.OwnerReferences, want.Spec
			got, err = leases.Update(ctx, got, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		return err
	}
	l.last = got
	return nil
}
