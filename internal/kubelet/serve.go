package kubelet

import (
	"context"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"

	"clipper/internal/kubelet/lifecycle"
	"clipper/internal/kubelet/podspec"
	"clipper/internal/kubelet/server"
)

// serve runs the node's API, if it is to have one.
func (k *Kubelet) serve(ctx context.Context) error {
	if k.Listener == nil {
		return nil
	}
	return server.Run(ctx, server.Config{
		Listener: k.Listener, TLS: k.ServingTLS, ClientCA: k.ClientCA, Authorize: k.Authorize,
		NodeName: k.NodeName, Node: k, Runtime: k.Runtime, Streaming: k.Streaming, Clock: k.Clock, Logger: k.Logger,
		Metrics: k.Metrics,
	})
}

// ask runs f on the actor's goroutine and waits for it. It returns false when
// the actor is over.
func (a *actor) ask(ctx context.Context, f func(*lifecycle.State)) bool {
	done := make(chan struct{})
	a.post(func(s *lifecycle.State) {
		f(s)
		close(done)
	})
	select {
	case <-done:
		return true
	case <-a.over:
	case <-ctx.Done():
	}
	return false
}

// find returns the actor of a pod by name; uid, if given, must fit.
func (k *Kubelet) find(namespace, name, uid string) (*actor, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var found *actor
	for _, a := range k.pods {
		if a.namespace != namespace || a.name != name || uid != "" && string(a.uid) != uid {
			continue
		}
		// Of two pods of one name, the older is about to go.
		if found == nil || a.born.After(found.born) {
			found = a
		}
	}
	if found == nil {
		return nil, server.Refuse(http.StatusNotFound, "pod %q not found", name)
	}
	return found, nil
}

func (k *Kubelet) actorList() []*actor {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Collect(maps.Values(k.pods))
}

// List implements server.Node.
func (k *Kubelet) List() []*v1.Pod {
	var list []*v1.Pod
	for _, a := range k.actorList() {
		a.ask(k.ctx, func(s *lifecycle.State) {
			pod := *s.Pod
			pod.Status = s.Status(k.Clock.Now(), k.host)
			list = append(list, &pod)
		})
	}
	slices.SortFunc(list, func(a, b *v1.Pod) int {
		return strings.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name)
	})
	return list
}

// Log implements server.Node.
func (k *Kubelet) Log(ctx context.Context, namespace, pod, container string, previous bool) (path string, ended <-chan struct{}, err error) {
	a, err := k.find(namespace, pod, "")
	if err != nil {
		return "", nil, err
	}
	ok := a.ask(ctx, func(s *lifecycle.State) {
		c := s.Container(container)
		if c == nil {
			err = server.Refuse(http.StatusNotFound, "container %q not found in pod %q", container, pod)
			return
		}
		st := s.Status(k.Clock.Now(), k.host)
		var run *lifecycle.Instance
		if run, err = loggedRun(&st, c, pod, previous); err != nil {
			return
		}
		path = filepath.Join(k.spec.LogDirectory(s.Pod), podspec.LogPath(container, uint32(run.Attempt)))
		ended = a.endOf(run)
	})
	if !ok {
		return "", nil, server.Refuse(http.StatusNotFound, "pod %q not found", pod)
	}
	return path, ended, err
}

// loggedRun chooses the run whose log is meant.
func loggedRun(st *v1.PodStatus, c *lifecycle.Container, pod string, previous bool) (*lifecycle.Instance, error) {
	var cs *v1.ContainerStatus
	for _, list := range [...][]v1.ContainerStatus{st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses} {
		for i := range list {
			if list[i].Name == c.Name {
				cs = &list[i]
			}
		}
	}
	if cs == nil {
		return nil, server.Refuse(http.StatusBadRequest, "container %q in pod %q is not available", c.Name, pod)
	}
	refuse := func(format string, args ...any) (*lifecycle.Instance, error) {
		return nil, server.Refuse(http.StatusBadRequest, format, args...)
	}
	run := func(id string) *lifecycle.Instance {
		for _, i := range [...]*lifecycle.Instance{c.Cur, c.Last} {
			if i != nil && i.ID != "" && strings.HasSuffix(id, "://"+i.ID) {
				return i
			}
		}
		return nil
	}
	last := cs.LastTerminationState.Terminated
	switch {
	case previous:
		if last == nil || run(last.ContainerID) == nil {
			return refuse("previous terminated container %q in pod %q not found", c.Name, pod)
		}
		return run(last.ContainerID), nil
	case cs.State.Running != nil && run(cs.ContainerID) != nil:
		return run(cs.ContainerID), nil
	case cs.State.Terminated != nil && run(cs.State.Terminated.ContainerID) != nil:
		return run(cs.State.Terminated.ContainerID), nil
	case last != nil && run(last.ContainerID) != nil:
		return run(last.ContainerID), nil
	case c.Cur != nil && c.Cur.Phase == lifecycle.Running: // its postStart hook is under way
		return c.Cur, nil
	case cs.State.Waiting != nil:
		switch reason := cs.State.Waiting.Reason; reason {
		case "ErrImagePull":
			return refuse("container %q in pod %q is waiting to start: image can't be pulled", c.Name, pod)
		case "ImagePullBackOff":
			return refuse("container %q in pod %q is waiting to start: trying and failing to pull image", c.Name, pod)
		default:
			return refuse("container %q in pod %q is waiting to start: %v", c.Name, pod, reason)
		}
	}
	return refuse("container %q in pod %q is waiting to start - no logs yet", c.Name, pod)
}

// endOf returns a channel that is closed when the run has ended, or the actor
// is over.
func (a *actor) endOf(run *lifecycle.Instance) <-chan struct{} {
	if run.Phase == lifecycle.Exited {
		done := make(chan struct{})
		close(done)
		return done
	}
	if a.ends == nil {
		a.ends = map[string]chan struct{}{}
	}
	if a.ends[run.ID] == nil {
		a.ends[run.ID] = make(chan struct{})
	}
	return a.ends[run.ID]
}

// noteEnds closes the channels of runs that have ended.
func (a *actor) noteEnds(all bool) {
	for id, done := range a.ends {
		ended := true
		for _, c := range a.state.Containers {
			if c.Cur != nil && c.Cur.ID == id && c.Cur.Phase != lifecycle.Exited {
				ended = false
			}
		}
		if ended || all {
			close(done)
			delete(a.ends, id)
		}
	}
}

// Container implements server.Node.
func (k *Kubelet) Container(ctx context.Context, namespace, pod, uid, container string) (id string, err error) {
	a, err := k.find(namespace, pod, uid)
	if err != nil {
		return "", err
	}
	err = server.Refuse(http.StatusNotFound, "container not found (%q)", container)
	a.ask(ctx, func(s *lifecycle.State) {
		if c := s.Container(container); c != nil && c.Cur != nil && c.Cur.Phase == lifecycle.Running {
			id, err = c.Cur.ID, nil
		}
	})
	return id, err
}

// Sandbox implements server.Node.
func (k *Kubelet) Sandbox(ctx context.Context, namespace, pod, uid string) (id string, err error) {
	a, err := k.find(namespace, pod, uid)
	if err != nil {
		return "", err
	}
	err = server.Refuse(http.StatusNotFound, "pod not found (%q)", pod)
	a.ask(ctx, func(s *lifecycle.State) {
		if s.Sandbox.Done {
			id, err = s.Sandbox.ID, nil
		}
	})
	return id, err
}
