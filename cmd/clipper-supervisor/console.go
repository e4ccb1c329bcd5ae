//go:build linux && cgo

package main

import (
	"errors"
	"os"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"clipper/internal/cri/supervisor"
)

// consoleSocket gives the process the socket through which it hands over its
// terminal's master end, and returns the other end of that socket.
func consoleSocket(lp *libcontainer.Process) (*os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socketpair", err)
	}
	lp.ConsoleSocket = os.NewFile(uintptr(fds[1]), "console-child")
	return os.NewFile(uintptr(fds[0]), "console-parent"), nil
}

// receiveConsole takes the terminal's master end. The process sent it before
// its start was done, so this does not wait.
func receiveConsole(socket *os.File) (*os.File, error) {
	buf, control := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(int(socket.Fd()), buf, control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("recvmsg", err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return nil, errors.New("the process sent no terminal")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		supervisor.CloseAll(fds)
		return nil, errors.New("the process sent no terminal")
	}
	return supervisor.File(fds[0], "console"), nil
}

func resizeConsole(console *os.File, width, height uint16) error {
	raw, err := console.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: height, Col: width})
	}); err != nil {
		return err
	}
	return failed
}
