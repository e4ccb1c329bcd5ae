package kubelet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/utils/exec"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/probe"
)

// target is what hooks and probes of one run reach.
func (a *actor) target(c *lifecycle.Container) probe.Target {
	s := a.state
	t := probe.Target{Ports: c.Spec.Ports, HostNetwork: s.Pod.Spec.HostNetwork}
	switch {
	case s.Pod.Spec.HostNetwork && len(a.k.NodeIPs) > 0:
		t.IP = a.k.NodeIPs[0]
	case len(s.Sandbox.IPs) > 0:
		t.IP = s.Sandbox.IPs[0]
	}
	id := c.Cur.ID
	t.Exec = func(ctx context.Context, cmd []string, timeout time.Duration) (output string, exit int, err error) {
		stdout, stderr, err := a.k.Runtime.ExecSync(ctx, id, cmd, timeout)
		output = string(stdout) + string(stderr)
		var code exec.ExitError
		if errors.As(err, &code) {
			return output, code.ExitStatus(), nil
		}
		return output, 0, err
	}
	return t
}

// postStart runs the hook of a run that has just started.
func (a *actor) postStart(act lifecycle.Action) {
	k, c, pod := a.k, act.Container, a.state.Pod
	t, hook := a.target(c), c.Spec.Lifecycle.PostStart
	a.spawn(func() message {
		err := a.hook(a.begin, t, hook, 0)
		if a.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			k.events.Pod(pod, c, v1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
			k.Logger.Info("postStart hook failed", "pod", pod.Name, "namespace", pod.Namespace, "container", c.Name, "err", err)
		}
		return func(s *lifecycle.State) { s.PostStartDone(k.Clock.Now(), c, act.ID, err != nil) }
	})
}

// preStop runs the hook of a run that is to stop, for as long as the grace.
func (a *actor) preStop(act lifecycle.Action) {
	k, c, pod := a.k, act.Container, a.state.Pod
	t, hook := a.target(c), c.Spec.Lifecycle.PreStop
	a.spawn(func() message {
		err := a.hook(a.ctx, t, hook, act.Grace)
		if a.ctx.Err() != nil {
			return nil
		}
		if err != nil {
			k.events.Pod(pod, c, v1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
			k.Logger.Info("preStop hook failed", "pod", pod.Name, "namespace", pod.Namespace, "container", c.Name, "err", err)
		}
		return func(s *lifecycle.State) { s.PreStopDone(k.Clock.Now(), c, act.ID) }
	})
}

// hook runs one hook; within limits its time, 0 does not.
func (a *actor) hook(ctx context.Context, t probe.Target, h *v1.LifecycleHandler, within time.Duration) error {
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		timer := a.k.Clock.AfterFunc(within, cancel)
		defer timer.Stop()
	}
	switch {
	case h.Exec != nil:
		output, exit, err := t.Exec(ctx, h.Exec.Command, within)
		if err != nil {
			return err
		}
		if exit != 0 {
			return fmt.Errorf("command '%s' exited with %d: %s", strings.Join(h.Exec.Command, " "), exit, output)
		}
		return nil
	case h.HTTPGet != nil:
		return probe.Call(ctx, t, h.HTTPGet)
	case h.Sleep != nil:
		timer := a.k.Clock.NewTimer(time.Duration(h.Sleep.Seconds) * time.Second)
		defer timer.Stop()
		select {
		case <-timer.C():
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return errors.New("invalid handler")
}

// probe makes one try of a probe.
func (a *actor) probe(act lifecycle.Action) {
	k, c, pod := a.k, act.Container, a.state.Pod
	t, spec := a.target(c), c.Probes[act.Probe].Spec
	a.spawn(func() message {
		began := k.Clock.Now()
		outcome := probe.Run(a.ctx, t, spec)
		took := k.Clock.Since(began)
		if a.ctx.Err() != nil {
			return nil
		}
		result, text := lifecycle.Success, ""
		switch {
		case outcome.Err != nil: // it could not be asked, which says nothing of the container
			result = lifecycle.Unknown
			k.events.Pod(pod, c, v1.EventTypeWarning, "Unhealthy", fmt.Sprintf("%s probe errored and resulted in unknown state: %v", act.Probe, outcome.Err))
		case outcome.Refused:
			result, text = lifecycle.Refused, fmt.Sprintf("%s probe failed: %s", act.Probe, outcome.Text)
		case !outcome.OK:
			result, text = lifecycle.Failure, fmt.Sprintf("%s probe failed: %s", act.Probe, outcome.Text)
		case outcome.Warning:
			k.events.Pod(pod, c, v1.EventTypeWarning, "ProbeWarning", fmt.Sprintf("%s probe warning: %s", act.Probe, outcome.Text))
		}
		return func(s *lifecycle.State) {
			a.probes.count(c.Name, act.Probe, result, took)
			if s.Probed(k.Clock.Now(), c, act.ID, act.Probe, result) && text != "" {
				k.events.Pod(pod, c, v1.EventTypeWarning, "Unhealthy", text)
			}
		}
	})
}
