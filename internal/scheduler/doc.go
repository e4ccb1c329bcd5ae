// Package scheduler binds pods to nodes.
//
// It is upstream's framework of filters and scores, with the same names,
// weights, reasons and texts, arranged so that a decision costs microseconds:
//
//   - An index of the nodes and of the pods on them is kept up to date by the
//     informers' events and by the scheduler's own decisions. It is never
//     copied: one mutex guards index and queue, and a decision holds it briefly.
//
//   - Pods that no plugin can tell apart form a class, and share what is known
//     of each node: which of them fit, and in which order. After a decision only
//     the node that was chosen is looked at again. See ranking.
//
//   - Plugins say what their verdict depends on: the node object, the pods on
//     the node, or the whole cluster. Only pods whose verdicts depend on the
//     whole cluster (pod affinity, topology spread) are decided from scratch.
//
//   - Binding goes on beside the next decisions. A decided pod is assumed to be
//     on its node until the API confirms it, or the binding fails.
//
//   - Where a pod fits only if others go, what filters count is shifted by those
//     pods and shifted back: a trial costs what it looks at, and leaves no trace.
//     The room that is made is kept for the pod as a nomination, which is counted
//     when other pods of no higher priority are decided on.
//
// A pod that fits nowhere waits, without polling, until an event on some node
// makes it fit there, or makes room for it possible. One whose claims are not
// bound waits for them.
package scheduler
