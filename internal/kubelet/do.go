package kubelet

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"clipper/internal/kubelet/image"
	"clipper/internal/kubelet/lifecycle"
)

// do carries out one action: what takes time, in a job.
func (a *actor) do(act lifecycle.Action) {
	k, s, c := a.k, a.state, act.Container
	switch act.Do {
	case lifecycle.SetUpVolumes:
		a.setUpVolumes()
	case lifecycle.RunSandbox:
		a.runSandbox(act)
	case lifecycle.PullImage:
		pod, spec := s.Pod, c.Spec
		a.spawn(func() message {
			ref, err := k.images.Ensure(a.begin, pod, c, spec)
			return func(s *lifecycle.State) {
				var ie *image.Error
				switch {
				case err == nil:
					s.ImageUp(c, ref)
				case errors.As(err, &ie):
					s.ImageFailed(k.Clock.Now(), c, ie.Reason, err.Error())
				default:
					s.ImageFailed(k.Clock.Now(), c, "ErrImagePull", err.Error())
				}
			}
		})
	case lifecycle.StartContainer:
		a.startContainer(act)
	case lifecycle.RunPostStart:
		a.postStart(act)
	case lifecycle.RunPreStop:
		a.preStop(act)
	case lifecycle.StopContainer:
		a.stopContainer(act)
	case lifecycle.RunProbe:
		a.probe(act)
	case lifecycle.ResizeContainer:
		a.resizeContainer(act)
	case lifecycle.RemoveContainer:
		a.spawn(func() message {
			if err := k.Runtime.RemoveContainer(a.ctx, act.ID); err != nil && !crierrors.IsNotFound(err) && a.ctx.Err() == nil {
				k.Logger.Warn("old container not removed", "id", act.ID, "err", err)
			}
			return nil
		})
	case lifecycle.TearDown:
		a.tearDown(act)
	case lifecycle.Purge:
		a.purge()
	case lifecycle.TellStopping:
		k.events.Pod(s.Pod, c, v1.EventTypeNormal, "Killing", act.Text)
	case lifecycle.TellCrash:
		k.events.Pod(s.Pod, c, v1.EventTypeWarning, "BackOff",
			fmt.Sprintf("Back-off restarting failed container %s in pod %s_%s(%s)", c.Name, s.Pod.Name, s.Pod.Namespace, s.Pod.UID))
	case lifecycle.TellPull:
		k.events.Pod(s.Pod, c, v1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", c.Spec.Image))
		k.events.Pod(s.Pod, c, v1.EventTypeWarning, "Failed", "Error: ImagePullBackOff")
	case lifecycle.TellDeadline:
		k.events.Pod(s.Pod, nil, v1.EventTypeNormal, "DeadlineExceeded", act.Text)
	}
}

func (a *actor) setUpVolumes() {
	k, pod, wereUp := a.k, a.podWithIPs(), a.state.Volumes.Done
	ctx, earlier := a.begin, a.mounts
	if wereUp {
		ctx = a.ctx // containers that stop may still read what is renewed
	}
	a.spawn(func() message {
		err := k.refs.Wait(ctx, pod.UID)
		mounts, err2 := k.volumes.SetUp(ctx, pod, earlier)
		if err == nil {
			err = err2
		}
		return func(s *lifecycle.State) {
			if err == nil {
				a.mounts = mounts
				s.VolumesUp(mounts.Renew)
				return
			}
			if a.begin.Err() == nil {
				k.events.Pod(s.Pod, nil, v1.EventTypeWarning, "FailedMount", err.Error())
			}
			s.VolumesFailed(k.Clock.Now(), wereUp, err.Error())
		}
	})
}

// podWithIPs is the pod with the addresses that its containers are told.
func (a *actor) podWithIPs() *v1.Pod {
	s := a.state
	pod := *s.Pod // shallow: only the status' own fields are set below
	ips := s.Sandbox.IPs
	if pod.Spec.HostNetwork {
		ips = a.k.NodeIPs
	}
	pod.Status.PodIPs, pod.Status.PodIP = nil, ""
	for i, ip := range ips {
		if i == 0 {
			pod.Status.PodIP = ip
		}
		pod.Status.PodIPs = append(pod.Status.PodIPs, v1.PodIP{IP: ip})
	}
	pod.Status.HostIPs = nil
	for i, ip := range a.k.NodeIPs {
		if i == 0 {
			pod.Status.HostIP = ip
		}
		pod.Status.HostIPs = append(pod.Status.HostIPs, v1.HostIP{IP: ip})
	}
	return &pod
}

func (a *actor) runSandbox(act lifecycle.Action) {
	k, pod := a.k, a.state.Pod
	config := k.spec.Sandbox(pod, act.Attempt)
	a.sandbox = config
	if act.ID != "" {
		k.events.Pod(pod, nil, v1.EventTypeNormal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.")
	}
	a.spawn(func() message {
		id, ips, err := a.makeSandbox(pod, act.ID, config)
		return func(s *lifecycle.State) {
			if err != nil {
				if a.begin.Err() == nil {
					k.events.Pod(pod, nil, v1.EventTypeWarning, "FailedCreatePodSandBox", "Failed to create pod sandbox: "+err.Error())
				}
				s.SandboxFailed(k.Clock.Now(), err.Error())
				return
			}
			s.SandboxUp(id, act.Attempt, ips)
		}
	})
}

func (a *actor) makeSandbox(pod *v1.Pod, old string, config *runtimeapi.PodSandboxConfig) (id string, ips []string, err error) {
	k := a.k
	if old != "" {
		if err := k.Runtime.StopPodSandbox(a.begin, old); err != nil && !crierrors.IsNotFound(err) {
			return "", nil, err
		}
	}
	handler := ""
	if class := pod.Spec.RuntimeClassName; class != nil && *class != "" {
		rc, err := k.Client.NodeV1().RuntimeClasses().Get(a.begin, *class, metav1.GetOptions{})
		if err != nil {
			return "", nil, fmt.Errorf("failed to get RuntimeClass %q: %w", *class, err)
		}
		handler = rc.Handler
	}
	if h := pod.Spec.HostUsers; h != nil && !*h {
		// Never run in the node's user namespace what asked for one of its own.
		return "", nil, fmt.Errorf("user namespaces are not supported by the runtime handler %q of this node", handler)
	}
	if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
		return "", nil, err
	}
	if err := k.makeCgroup(config); err != nil {
		return "", nil, err
	}
	if id, err = k.Runtime.RunPodSandbox(a.begin, config, handler); err != nil {
		return "", nil, err
	}
	st, err := k.Runtime.PodSandboxStatus(a.begin, id, false)
	if err != nil {
		return "", nil, errors.Join(err, k.Runtime.RemovePodSandbox(a.ctx, id))
	}
	return id, sandboxIPs(st.Status), nil
}

func sandboxIPs(st *runtimeapi.PodSandboxStatus) []string {
	if st == nil || st.Network == nil || st.Network.Ip == "" {
		return nil
	}
	ips := []string{st.Network.Ip}
	for _, ip := range st.Network.AdditionalIps {
		ips = append(ips, ip.Ip)
	}
	return ips
}

// stopContainer asks the runtime to end a run within the grace, and takes back
// an earlier request that gave it longer.
func (a *actor) stopContainer(act lifecycle.Action) {
	k, c, sandbox := a.k, act.Container, act.Container.Cur.SandboxID
	if earlier := a.stops[act.ID]; earlier != nil {
		earlier()
	}
	ctx, cancel := context.WithCancel(a.ctx)
	a.stops[act.ID] = cancel
	a.spawn(func() message {
		defer cancel()
		err := k.Runtime.StopContainer(ctx, act.ID, int64(math.Ceil(act.Grace.Seconds())))
		if err != nil && (ctx.Err() != nil || crierrors.IsNotFound(err)) {
			if !crierrors.IsNotFound(err) {
				return nil
			}
			return func(s *lifecycle.State) { s.Removed(k.Clock.Now(), act.ID) }
		}
		if err != nil {
			k.Logger.Warn("container not stopped", "container", c.Name, "id", act.ID, "err", err)
			t := k.Clock.NewTimer(time.Second)
			defer t.Stop()
			select {
			case <-t.C():
			case <-a.ctx.Done():
			}
			return func(s *lifecycle.State) { s.StopFailed(c, act.ID, act.Sent) }
		}
		r, err := k.Runtime.ContainerStatus(a.ctx, act.ID, false)
		if err != nil || r.Status == nil {
			return nil // the event of its end tells the rest
		}
		return func(s *lifecycle.State) { a.observe(sandbox, r.Status) }
	})
}

// tearDown gives back what the ended pod held, save what its logs need.
func (a *actor) tearDown(act lifecycle.Action) {
	k, pod := a.k, a.state.Pod
	a.spawn(func() message {
		err := func() error {
			if act.ID != "" {
				if err := k.Runtime.StopPodSandbox(a.ctx, act.ID); err != nil && !crierrors.IsNotFound(err) {
					return err
				}
			}
			if err := k.volumes.TearDown(pod.UID); err != nil {
				return err
			}
			return k.removeCgroup(pod)
		}()
		k.tokens.drop(pod.UID)
		return func(s *lifecycle.State) {
			if err != nil {
				k.events.Pod(pod, nil, v1.EventTypeWarning, "FailedKillPod", "error killing pod: "+err.Error())
			}
			s.TornDown(k.Clock.Now(), text(err))
			a.k.release(pod.UID)
		}
	})
}

// purge removes all trace of the pod from the node.
func (a *actor) purge() {
	k, pod := a.k, a.state.Pod
	a.spawn(func() message {
		err := k.purge(a.ctx, string(pod.UID), k.spec.LogDirectory(pod))
		if err != nil {
			k.Logger.Warn("pod not removed from the node", "pod", pod.Name, "namespace", pod.Namespace, "err", err)
		}
		return func(s *lifecycle.State) { s.Purged(k.Clock.Now(), text(err)) }
	})
}

// purge removes a pod's sandboxes with their containers, its logs and files.
func (k *Kubelet) purge(ctx context.Context, uid, logs string) error {
	list, err := k.Runtime.ListPodSandbox(ctx, &runtimeapi.PodSandboxFilter{LabelSelector: map[string]string{"io.kubernetes.pod.uid": uid}})
	if err != nil {
		return err
	}
	for _, sb := range list {
		if err := k.Runtime.RemovePodSandbox(ctx, sb.Id); err != nil && !crierrors.IsNotFound(err) {
			return err
		}
	}
	if err := os.RemoveAll(logs); err != nil {
		return err
	}
	dir := filepath.Join(k.RootDir, "pods", uid)
	// Volumes have been torn down; a path that is left would be one that must
	// not be walked into, so only what the agent made is removed.
	for _, part := range [...]string{"containers", "etc-hosts", "volumes"} {
		path := filepath.Join(dir, part)
		if part == "volumes" {
			if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
				return err
			}
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	if err := os.Remove(dir); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// containerDir holds a container's own files on the node.
func (k *Kubelet) containerDir(pod *v1.Pod, container string) string {
	return filepath.Join(k.RootDir, "pods", string(pod.UID), "containers", container)
}

func terminationFile(dir string, attempt uint32) string {
	return filepath.Join(dir, strconv.Itoa(int(attempt)))
}
