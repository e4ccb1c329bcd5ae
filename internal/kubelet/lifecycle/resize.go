package lifecycle

import (
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
)

// Pending says why the node does not grant a resize (KEP-1287): Deferred until
// others leave, or Infeasible.
type Pending struct{ Reason, Message string }

// given returns what the current run was given: what it was started or last
// resized with.
func (c *Container) given() v1.ResourceRequirements {
	if c.Applied != nil {
		return *c.Applied
	}
	return c.Spec.Resources
}

func sameResources(a, b v1.ResourceRequirements) bool {
	return apiequality.Semantic.DeepEqual(a.Limits, b.Limits) && apiequality.Semantic.DeepEqual(a.Requests, b.Requests)
}

// resizable tells whether the container's resources can change as it runs.
func (c *Container) resizable() bool {
	return c.running() && (c.Kind == Main || c.Kind == Sidecar)
}

// Resizes tells whether the spec asks for other resources than were given.
func (s *State) Resizes() bool {
	for _, c := range s.Containers {
		if c.resizable() && !sameResources(c.given(), c.Spec.Resources) {
			return true
		}
	}
	return false
}

// resize brings the run's resources to what the spec says.
func (s *State) resize(now time.Time, c *Container, d *Decision) {
	if s.Pending != nil || !c.resizable() || c.Start.Busy || !c.Stop.By.IsZero() || sameResources(c.given(), c.Spec.Resources) {
		return
	}
	if c.restartsForResize() {
		c.stop(now.Add(s.podGrace()), fmt.Sprintf("Container %s resize requires restart", c.Name))
		return
	}
	if c.Resize.Busy {
		return
	}
	if c.Resize.RetryAt.After(now) {
		d.wake(c.Resize.RetryAt)
		return
	}
	c.Resize.begin()
	d.add(Action{Do: ResizeContainer, Container: c, ID: c.Cur.ID})
}

// restartsForResize: the resizePolicy of a resource that changes wants it.
func (c *Container) restartsForResize() bool {
	was := c.given()
	for _, p := range c.Spec.ResizePolicy {
		if p.RestartPolicy != v1.RestartContainer {
			continue
		}
		name := p.ResourceName
		if !apiequality.Semantic.DeepEqual(was.Limits[name], c.Spec.Resources.Limits[name]) ||
			!apiequality.Semantic.DeepEqual(was.Requests[name], c.Spec.Resources.Requests[name]) {
			return true
		}
	}
	return false
}

// Resized reports the outcome of a resize to the given resources.
func (s *State) Resized(now time.Time, c *Container, id string, to v1.ResourceRequirements, err string) {
	c.Resize.Busy = false
	if c.Cur == nil || c.Cur.ID != id {
		return
	}
	if err != "" {
		c.Resize.fail(now, createRetry, "Error", err)
		return
	}
	c.Resize = Task{}
	c.Applied = &to
}

// resizeConditions adds what there is to say of a resize.
func (s *State) resizeConditions(add func(t v1.PodConditionType, ok bool, reason, message string)) {
	if s.Ending() || !s.Resizes() {
		return
	}
	if s.Pending != nil {
		add(v1.PodResizePending, true, s.Pending.Reason, s.Pending.Message)
		return
	}
	for _, c := range s.Containers {
		if c.Resize.Message != "" {
			add(v1.PodResizeInProgress, true, c.Resize.Reason, c.Resize.Message)
			return
		}
	}
	add(v1.PodResizeInProgress, true, "", "")
}
