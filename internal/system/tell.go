package system

import (
	"encoding/json"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// message is a line for whoever started this process; cli/local reads it.
type message struct {
	Step  string `json:"step,omitempty"`
	Error string `json:"error,omitempty"`
	Ready bool   `json:"ready,omitempty"`
}

// Teller tells whoever started this process how its start goes. A nil Teller
// tells nobody.
type Teller struct{ w io.WriteCloser }

// NewTeller returns a Teller that writes a line of JSON for each message, and
// closes w after the last.
func NewTeller(w io.WriteCloser) *Teller { return &Teller{w} }

// TellFD returns a Teller on the descriptor that a local cluster hands down.
func TellFD() *Teller {
	const fd = 3
	unix.CloseOnExec(fd)
	return &Teller{os.NewFile(fd, "tell")}
}

// Whoever listened may have gone away, which is no matter of ours.
func (t *Teller) tell(m message) {
	if t == nil || t.w == nil {
		return
	}
	_ = json.NewEncoder(t.w).Encode(m)
}

// Step tells of one step of the start.
func (t *Teller) Step(s string) { t.tell(message{Step: s}) }

// Fail tells why the start failed.
func (t *Teller) Fail(err error) { t.tell(message{Error: err.Error()}) }

// Ready tells that the node is Ready. It is the last word.
func (t *Teller) Ready() {
	t.tell(message{Ready: true})
	if t != nil && t.w != nil {
		t.w.Close()
		t.w = nil
	}
}
