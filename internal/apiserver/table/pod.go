package table

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

var pod = kind{
	columns: columns(
		name,
		text("Ready", "Ready containers of all containers."),
		text("Status", "What the pod as a whole is doing."),
		text("Restarts", "How often containers were restarted, and when last."),
		age,
		wide(text("IP", "Address of the pod.")),
		wide(text("Node", "Node the pod is bound to.")),
		wide(text("Nominated Node", "Node that room is being made on for the pod.")),
		wide(text("Readiness Gates", "Conditions that are true of those the pod waits for.")),
	),
	row: func(now time.Time, obj runtime.Object) (metav1.TableRow, bool) {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return metav1.TableRow{}, false
		}
		return metav1.TableRow{Cells: podCells(now, p), Conditions: podConditions(p)}, true
	},
}

// podConditions marks pods that have run to their end.
func podConditions(p *corev1.Pod) []metav1.TableRowCondition {
	var message string
	switch p.Status.Phase {
	case corev1.PodSucceeded:
		message = "The pod has completed successfully."
	case corev1.PodFailed:
		message = "The pod failed."
	default:
		return nil
	}
	return []metav1.TableRowCondition{{
		Type: metav1.RowCompleted, Status: metav1.ConditionTrue, Reason: string(p.Status.Phase), Message: message,
	}}
}

func podCells(now time.Time, p *corev1.Pod) []any {
	s := summarise(p)
	restarts := fmt.Sprint(s.restarts)
	if s.restarts != 0 && !s.restarted.IsZero() {
		restarts = fmt.Sprintf("%d (%s ago)", s.restarts, since(now, s.restarted))
	}
	ip := p.Status.PodIP
	if len(p.Status.PodIPs) > 0 {
		ip = p.Status.PodIPs[0].IP
	}
	gates := none
	if n := len(p.Spec.ReadinessGates); n > 0 {
		met := 0
		for _, g := range p.Spec.ReadinessGates {
			if isTrue(p, g.ConditionType) {
				met++
			}
		}
		gates = fmt.Sprintf("%d/%d", met, n)
	}
	return []any{
		p.Name, fmt.Sprintf("%d/%d", s.ready, s.containers), s.status, restarts, since(now, p.CreationTimestamp),
		or(ip, none), or(p.Spec.NodeName, none), or(p.Status.NominatedNodeName, none), gates,
	}
}

func isTrue(p *corev1.Pod, t corev1.PodConditionType) bool {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == t {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// podSummary is a pod in one line.
type podSummary struct {
	status            string
	ready, containers int
	restarts          int
	// restarted is when a container that was restarted had ended last.
	restarted metav1.Time
}

func (s *podSummary) countRestarts(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if t := c.LastTerminationState.Terminated; t != nil && s.restarted.Before(&t.FinishedAt) {
		s.restarted = t.FinishedAt
	}
}

func summarise(p *corev1.Pod) podSummary {
	s := podSummary{status: string(p.Status.Phase), containers: len(p.Spec.Containers)}
	if p.Status.Reason != "" {
		s.status = p.Status.Reason
	}
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated {
			s.status = corev1.PodReasonSchedulingGated
		}
	}
	initializing := s.initContainers(p)
	if !initializing || isTrue(p, corev1.PodInitialized) {
		s.mainContainers(p)
	}
	if p.DeletionTimestamp != nil {
		switch {
		case p.Status.Reason == "NodeLost":
			s.status = "Unknown"
		case p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed:
			s.status = "Terminating"
		}
	}
	return s
}

// initContainers sums up the init containers and tells whether one of them
// keeps the others waiting. Sidecars count like main containers; of the others
// restarts are only told while they run.
func (s *podSummary) initContainers(p *corev1.Pod) (initializing bool) {
	sidecars := make(map[string]bool, len(p.Spec.InitContainers))
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			sidecars[c.Name] = true
			s.containers++
		}
	}
	lasting := podSummary{}
	for i := range p.Status.InitContainerStatuses {
		c := &p.Status.InitContainerStatuses[i]
		s.countRestarts(c)
		sidecar := sidecars[c.Name]
		if sidecar {
			lasting.countRestarts(c)
		}
		switch t, w := c.State.Terminated, c.State.Waiting; {
		case t != nil && t.ExitCode == 0:
			continue
		case sidecar && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case t != nil:
			s.status = "Init:" + ended(t)
		case w != nil && w.Reason != "" && w.Reason != "PodInitializing":
			s.status = "Init:" + w.Reason
		default:
			s.status = fmt.Sprintf("Init:%d/%d", i, len(p.Spec.InitContainers))
		}
		initializing = true
		break
	}
	if !initializing || isTrue(p, corev1.PodInitialized) {
		s.restarts, s.restarted = lasting.restarts, lasting.restarted
	}
	return initializing
}

// ended says how a container ended.
func ended(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

// mainContainers sums up the containers; of several that do not simply run the
// first is told.
func (s *podSummary) mainContainers(p *corev1.Pod) {
	running := false
	for i := len(p.Status.ContainerStatuses) - 1; i >= 0; i-- {
		c := &p.Status.ContainerStatuses[i]
		s.countRestarts(c)
		switch {
		case c.State.Waiting != nil && c.State.Waiting.Reason != "":
			s.status = c.State.Waiting.Reason
		case c.State.Terminated != nil:
			s.status = ended(c.State.Terminated)
		case c.Ready && c.State.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.status == "Completed" && running {
		if isTrue(p, corev1.PodReady) {
			s.status = "Running"
		} else {
			s.status = "NotReady"
		}
	}
}
