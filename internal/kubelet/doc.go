// Package kubelet is the node agent: it makes the pods that the API assigns to
// its node run, and tells the API what became of them.
//
// Each pod has an actor: one goroutine that owns the pod's lifecycle.State,
// takes messages from the API, the runtime, timers and its own jobs, and starts
// a job for each action that Step asks for. The actor itself never blocks, so
// a pod can always be told to end. Nothing is polled: a pod at rest has one
// goroutine that waits.
//
// The runtime is the only memory of what runs. A restarted agent asks it once,
// takes every sandbox and container over by its labels, and starts or stops
// nothing that is as it should be.
package kubelet
