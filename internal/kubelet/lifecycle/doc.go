// Package lifecycle is the pod's state machine: what is known of one pod on
// this node, what is to be done next, and the status that follows.
//
// It does no I/O and reads no clock. The owner tells a State what happened
// through its methods, calls Step with the time, carries the returned actions
// out, and reports back. Step marks an action as under way, so it is never
// asked for twice; it also says when, without any event, it must be called
// again.
//
// Invariants:
//   - a container is started only in a ready sandbox, with all volumes set up
//     and, for the pod's main containers, after every init container succeeded
//     and every sidecar started;
//   - no container is started once the pod is ending;
//   - a terminal phase is never left, and is not reported while a container runs;
//   - the pod's resources are torn down only after its last container stopped,
//     and its API object is released only after that.
package lifecycle
