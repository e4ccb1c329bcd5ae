// Package supervisor is the protocol between the node agent and the process
// that holds the node's containers, and the agent's side of it.
//
// One connection carries one call: a request frame, then reply frames. A frame
// is a length of four bytes (big endian, bounded by MaxFrame) and that many
// bytes of JSON; open files travel beside the frame. Calls that last (exec,
// attach, watch) keep their connection until they end, and closing it ends them.
//
// Both sides carry their Version and may differ: fields are only ever added,
// unknown fields are ignored, and an unknown method answers CodeUnimplemented.
package supervisor

import (
	"encoding/json"
	"time"
)

// Version is the protocol spoken by this build.
const Version = 1

// MaxFrame bounds one frame; a container's specification with its seccomp
// profile is about 40 KiB.
const MaxFrame = 4 << 20

// MaxFiles bounds the open files that travel beside one frame.
const MaxFiles = 8

// Method names a call.
type Method string

// The calls. Each is answered by one reply unless it says otherwise.
const (
	MethodInfo      Method = "info"       // nothing -> Info
	MethodPrepare   Method = "prepare"    // nothing -> nothing; a create is about to come
	MethodCreate    Method = "create"     // CreateRequest -> CreateReply
	MethodStart     Method = "start"      // Target -> StartReply
	MethodSignal    Method = "signal"     // SignalRequest -> nothing
	MethodDelete    Method = "delete"     // Target -> nothing
	MethodUpdate    Method = "update"     // UpdateRequest -> nothing
	MethodReopenLog Method = "reopen-log" // Target -> nothing
	MethodResize    Method = "resize"     // ResizeRequest -> nothing
	MethodExec      Method = "exec"       // ExecRequest (+files) -> ExecReply (+console), then ExitStatus
	MethodAttach    Method = "attach"     // AttachRequest (+files) -> nothing, then nothing at the end
	MethodWatch     Method = "watch"      // nothing -> []State, then State for each change
	MethodShutdown  Method = "shutdown"   // nothing -> nothing; kills what runs and ends the process
)

// Request is the first frame of a connection.
type Request struct {
	Version int             `json:"version"`
	Method  Method          `json:"method"`
	Body    json.RawMessage `json:"body,omitempty"`
}

// Reply is every frame of an answer.
type Reply struct {
	Error *Error          `json:"error,omitempty"`
	Body  json.RawMessage `json:"body,omitempty"`
}

// Code classifies an Error.
type Code string

// The codes.
const (
	CodeNotFound      Code = "not-found"
	CodeExists        Code = "exists"
	CodeNotRunning    Code = "not-running"
	CodeInvalid       Code = "invalid"
	CodeUnimplemented Code = "unimplemented"
	CodeInternal      Code = "internal"
)

// Error is a failed call, as the other side tells it.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
}

func (e *Error) Error() string { return e.Message }

// Is makes errors.Is match on the code alone.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// Errors to compare with errors.Is.
var (
	ErrNotFound   error = &Error{Code: CodeNotFound}
	ErrNotRunning error = &Error{Code: CodeNotRunning}
)

// Info tells who answers.
type Info struct {
	Version int       `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// Target names a container.
type Target struct {
	ID string `json:"id"`
}

// CreateRequest makes a container, ready to start.
type CreateRequest struct {
	ID string `json:"id"`
	// Spec is the container's OCI runtime specification. Its root is already
	// mounted and its namespaces with a path exist.
	Spec json.RawMessage `json:"spec"`
	// LogPath receives the output in CRI's log format; empty keeps no log.
	LogPath string `json:"logPath,omitempty"`
	// Stdin keeps the standard input open for attach; else it is /dev/null.
	Stdin bool `json:"stdin,omitempty"`
	// StdinOnce closes the standard input when the first attach with one ends.
	StdinOnce bool `json:"stdinOnce,omitempty"`
}

// CreateReply tells how the container came out.
type CreateReply struct {
	ID  string `json:"id"`
	PID int    `json:"pid"`
	// Notes say where the machine did not allow what the specification asked.
	Notes []string `json:"notes,omitempty"`
}

// StartReply tells when the container was started.
type StartReply struct {
	Started time.Time `json:"started"`
}

// SignalRequest sends a signal to the first process, or to all.
type SignalRequest struct {
	ID     string `json:"id"`
	Signal int    `json:"signal"`
	All    bool   `json:"all,omitempty"`
}

// UpdateRequest changes a container's cgroup limits; Resources is the OCI
// specification's linux.resources, of which only the set fields change.
type UpdateRequest struct {
	ID        string          `json:"id"`
	Resources json.RawMessage `json:"resources"`
}

// ResizeRequest sets the size of a container's terminal, in characters.
type ResizeRequest struct {
	ID     string `json:"id"`
	Width  uint16 `json:"width"`
	Height uint16 `json:"height"`
}

// ExecRequest runs a further process in a running container. The files beside
// it are those of Stdin, Stdout and Stderr that are set, in that order; with a
// terminal in the process none are, and the reply brings the terminal.
type ExecRequest struct {
	ID string `json:"id"`
	// Process is the OCI specification's process.
	Process json.RawMessage `json:"process"`
	Stdin   bool            `json:"stdin,omitempty"`
	Stdout  bool            `json:"stdout,omitempty"`
	Stderr  bool            `json:"stderr,omitempty"`
}

// ExecReply says that the process runs.
type ExecReply struct {
	PID int `json:"pid"`
}

// AttachRequest joins a container's standard streams. The files beside it are
// those of Stdin (to read), Stdout and Stderr (to write) that are set. An end
// that falls behind for long is let go: a container never waits for a watcher.
type AttachRequest struct {
	ID     string `json:"id"`
	Stdin  bool   `json:"stdin,omitempty"`
	Stdout bool   `json:"stdout,omitempty"`
	Stderr bool   `json:"stderr,omitempty"`
}

// Phase is where a container is in its life.
type Phase string

// The phases, in order.
const (
	Created Phase = "created"
	Running Phase = "running"
	Exited  Phase = "exited"
	// Deleted is only ever seen in a watch.
	Deleted Phase = "deleted"
)

// State is a container as the supervisor knows it.
type State struct {
	ID      string     `json:"id"`
	Phase   Phase      `json:"phase"`
	PID     int        `json:"pid,omitempty"`
	Created time.Time  `json:"created"`
	Started time.Time  `json:"started,omitzero"`
	Exit    ExitStatus `json:"exit,omitzero"`
}

// ExitStatus is how a process ended.
type ExitStatus struct {
	// Code is the exit code, or 128 and the number of the signal that ended it.
	Code int       `json:"code"`
	At   time.Time `json:"at,omitzero"`
	// OOMKilled says that the kernel killed a process of the container for want
	// of memory.
	OOMKilled bool `json:"oomKilled,omitempty"`
}
