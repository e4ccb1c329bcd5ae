package kubelet

import (
	"cmp"
	"context"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/podspec"
)

// record is what the runtime knows of one pod.
type record struct {
	// Oldest first.
	sandboxes []*runtimeapi.PodSandbox
	runs      []run
	ips       []string // of the newest sandbox
}

type run struct {
	sandbox string
	status  *runtimeapi.ContainerStatus
}

// records reads all that the runtime keeps, by pod.
func (k *Kubelet) records(ctx context.Context) (map[types.UID]*record, error) {
	sandboxes, err := k.Runtime.ListPodSandbox(ctx, nil)
	if err != nil {
		return nil, err
	}
	out := map[types.UID]*record{}
	for _, sb := range sandboxes {
		if sb.Metadata == nil || sb.Metadata.Uid == "" {
			continue
		}
		r := out[types.UID(sb.Metadata.Uid)]
		if r == nil {
			r = &record{}
			out[types.UID(sb.Metadata.Uid)] = r
		}
		r.sandboxes = append(r.sandboxes, sb)
	}
	for _, r := range out {
		slices.SortFunc(r.sandboxes, func(a, b *runtimeapi.PodSandbox) int {
			return cmp.Or(cmp.Compare(a.Metadata.Attempt, b.Metadata.Attempt), cmp.Compare(a.CreatedAt, b.CreatedAt))
		})
		newest := r.sandboxes[len(r.sandboxes)-1]
		st, err := k.Runtime.PodSandboxStatus(ctx, newest.Id, false)
		if err != nil && !crierrors.IsNotFound(err) {
			return nil, err
		}
		if err == nil {
			r.ips = sandboxIPs(st.Status)
		}
	}
	containers, err := k.Runtime.ListContainers(ctx, nil)
	if err != nil {
		return nil, err
	}
	for _, c := range containers {
		uid, _ := podspec.SpecOf(c.Labels)
		r := out[types.UID(uid)]
		if r == nil {
			continue
		}
		st, err := k.Runtime.ContainerStatus(ctx, c.Id, false)
		if err != nil {
			if crierrors.IsNotFound(err) {
				continue
			}
			return nil, err
		}
		r.runs = append(r.runs, run{c.PodSandboxId, st.Status})
	}
	for _, r := range out {
		slices.SortFunc(r.runs, func(a, b run) int { return cmp.Compare(a.status.CreatedAt, b.status.CreatedAt) })
	}
	return out, nil
}

// adopt takes over what runs already, and removes what belongs to no pod.
func (k *Kubelet) adopt(ctx context.Context) error {
	records, err := k.records(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, o := range k.Pods.GetStore().List() {
		pod, ok := o.(*v1.Pod)
		if !ok {
			continue
		}
		if r := records[pod.UID]; r != nil {
			k.startLocked(pod, r)
			delete(records, pod.UID)
		}
	}
	for uid, r := range records {
		k.actors.Add(1)
		go func() {
			defer k.actors.Done()
			k.removeOrphan(ctx, uid, r)
		}()
	}
	return nil
}

// removeOrphan ends what runs for a pod that the API has forgotten.
func (k *Kubelet) removeOrphan(ctx context.Context, uid types.UID, r *record) {
	newest := r.sandboxes[len(r.sandboxes)-1]
	pod := &v1.Pod{}
	pod.Name, pod.Namespace, pod.UID = newest.Metadata.Name, newest.Metadata.Namespace, uid
	log := k.Logger.With("pod", pod.Name, "namespace", pod.Namespace)
	const first, most = time.Second, time.Minute
	for delay := first; ; delay = min(2*delay, most) {
		err := func() error {
			for _, run := range r.runs {
				if run.status.State != runtimeapi.ContainerState_CONTAINER_RUNNING {
					continue
				}
				if err := k.Runtime.StopContainer(ctx, run.status.Id, 1); err != nil && !crierrors.IsNotFound(err) {
					return err
				}
			}
			for _, sb := range r.sandboxes {
				if err := k.Runtime.StopPodSandbox(ctx, sb.Id); err != nil && !crierrors.IsNotFound(err) {
					return err
				}
			}
			if err := k.volumes.TearDown(uid); err != nil {
				return err
			}
			if err := k.purge(ctx, string(uid), k.spec.LogDirectory(pod)); err != nil {
				return err
			}
			return k.removeCgroup(pod)
		}()
		if err == nil {
			log.Info("removed a pod that the API no longer has")
			return
		}
		log.Warn("pod that the API no longer has is not removed", "err", err, "retryIn", delay)
		t := k.Clock.NewTimer(delay)
		select {
		case <-t.C():
		case <-ctx.Done():
			t.Stop()
			return
		}
	}
}

// reread brings the actors up to date after the runtime's events were missed.
func (k *Kubelet) reread(ctx context.Context) {
	records, err := k.records(ctx)
	if err != nil {
		k.Logger.Warn("runtime's records not read", "err", err)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for uid, a := range k.pods {
		r := records[uid]
		a.post(func(s *lifecycle.State) {
			known := map[string]bool{}
			if r != nil {
				for _, run := range r.runs {
					known[run.status.Id] = true
					a.observe(run.sandbox, run.status)
				}
			}
			for _, c := range s.Containers {
				if c.Cur != nil && !known[c.Cur.ID] && !c.Start.Busy {
					s.Removed(k.Clock.Now(), c.Cur.ID)
				}
			}
			alive := false
			if r != nil {
				newest := r.sandboxes[len(r.sandboxes)-1]
				alive = newest.Id == s.Sandbox.ID && newest.State == runtimeapi.PodSandboxState_SANDBOX_READY
			}
			if !alive {
				s.SandboxDown(s.Sandbox.ID)
			}
		})
	}
}

// restore fills a pod's state from the runtime's records.
func (r *record) restore(k *Kubelet, s *lifecycle.State) {
	newest := r.sandboxes[len(r.sandboxes)-1]
	s.SandboxUp(newest.Id, newest.Metadata.Attempt, r.ips)
	if newest.State != runtimeapi.PodSandboxState_SANDBOX_READY {
		s.SandboxDown(newest.Id)
	}
	for _, run := range r.runs {
		_, name := podspec.SpecOf(run.status.Labels)
		s.Observe(name, k.instance(run.sandbox, run.status))
	}
	restoreStatus(s, k.Clock.Now())
}

// restoreStatus takes from the API what the runtime has no record of any more:
// how often containers restarted, and how those ended that are gone.
func restoreStatus(s *lifecycle.State, now time.Time) {
	st := &s.Pod.Status
	for _, list := range [...][]v1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			cs := &list[i]
			c := s.Container(cs.Name)
			if c == nil {
				continue
			}
			if c.Cur == nil {
				if inst := lifecycle.FromStatus(cs, s.Sandbox.ID, now); inst != nil {
					s.Observe(cs.Name, inst)
				}
			}
			c.Restarts = max(c.Restarts, cs.RestartCount)
			c.Given(cs.Resources)
			c.Adopted(cs.Started != nil && *cs.Started, cs.Ready)
		}
	}
	if len(s.Sandbox.IPs) == 0 {
		for _, ip := range st.PodIPs {
			s.Sandbox.IPs = append(s.Sandbox.IPs, ip.IP)
		}
	}
}
