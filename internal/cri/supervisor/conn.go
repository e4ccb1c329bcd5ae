package supervisor

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Conn frames messages and open files over a unix stream socket. One goroutine
// may send while another receives.
type Conn struct {
	*net.UnixConn
}

// Send writes one frame with the files beside it. The files stay the caller's.
func (c Conn) Send(message any, files ...*os.File) error {
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("encoding a frame: %w", err)
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("frame of %d bytes is above the limit of %d", len(body), MaxFrame)
	}
	frame := make([]byte, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	copy(frame[4:], body)
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			// Not f.Fd(), which would make the file block.
			raw, err := f.SyscallConn()
			if err != nil {
				return err
			}
			if err := raw.Control(func(fd uintptr) { fds[i] = int(fd) }); err != nil {
				return err
			}
		}
		defer runtime.KeepAlive(files)
		rights = unix.UnixRights(fds...)
	}
	// The files go with the first byte; a short write is finished plainly.
	n, _, err := c.WriteMsgUnix(frame, rights, nil)
	if err != nil {
		return err
	}
	for n < len(frame) {
		m, err := c.Write(frame[n:])
		if err != nil {
			return err
		}
		n += m
	}
	return nil
}

// Receive reads one frame into message and returns the descriptors beside it,
// which are then the caller's to close; whether they block is as they were
// sent. It returns io.EOF at an orderly end.
func (c Conn) Receive(message any) (fds []int, err error) {
	var header [4]byte
	control := make([]byte, unix.CmsgSpace(MaxFiles*4))
	n, nc, flags, _, err := c.ReadMsgUnix(header[:], control)
	if nc > 0 {
		fds = received(control[:nc])
	}
	defer func() {
		if err != nil {
			CloseAll(fds)
			fds = nil
		}
	}()
	switch {
	case errors.Is(err, io.EOF), err == nil && n == 0:
		return fds, io.EOF
	case err != nil:
		return fds, err
	case flags&unix.MSG_CTRUNC != 0:
		return fds, fmt.Errorf("more than %d files beside a frame", MaxFiles)
	}
	if _, err := io.ReadFull(c, header[n:]); err != nil {
		return fds, err
	}
	size := binary.BigEndian.Uint32(header[:])
	if size > MaxFrame {
		return fds, fmt.Errorf("frame of %d bytes is above the limit of %d", size, MaxFrame)
	}
	body := make([]byte, size)
	if _, err := io.ReadFull(c, body); err != nil {
		return fds, err
	}
	if err := json.Unmarshal(body, message); err != nil {
		return fds, fmt.Errorf("decoding a frame: %w", err)
	}
	return fds, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// File wraps a received descriptor for use through the poller, so that reads
// and writes of it can be given up.
func File(fd int, name string) *os.File {
	unix.SetNonblock(fd, true)
	return os.NewFile(uintptr(fd), name)
}

func received(control []byte) []int {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return nil
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
		}
		all = append(all, fds...)
	}
	return all
}
