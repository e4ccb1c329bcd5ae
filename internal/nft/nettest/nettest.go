// Package nettest gives tests network namespaces of their own: one for the
// test's process, as a node has it, and any number for pods. None has an
// uplink, and all of them end with the process at the latest.
package nettest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"clipper/internal/thread"
)

const inside = "CLIPPER_NETTEST_INSIDE"

// Main runs a package's tests in a process in network and mount namespaces of
// its own, with lo up, and returns its exit status. It needs root.
func Main(m *testing.M) int {
	switch os.Getenv(inside) {
	case "prepared": // as a fuzzing worker is
		return m.Run()
	case "new":
		if err := errors.Join(prepare(), os.Setenv(inside, "prepared")); err != nil {
			fmt.Fprintln(os.Stderr, "nettest:", err)
			return 1
		}
		return m.Run()
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=new")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return exit.ExitCode()
	} else if err != nil {
		fmt.Fprintln(os.Stderr, "nettest: start in namespaces (are you root?):", err)
		return 1
	}
	return 0
}

func prepare() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// /proc/sys/net follows the process, /sys/class/net the mount.
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mount /sys: %w", err)
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// Namespace is a network namespace pinned to a file.
type Namespace struct {
	// Path of the file, for those who open it themselves.
	Path string
}

// New makes an empty network namespace that ends with the test.
func New(t testing.TB) *Namespace {
	t.Helper()
	ns := &Namespace{Path: filepath.Join(t.TempDir(), "net")}
	if err := os.WriteFile(ns.Path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := thread.Do(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", ns.Path, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal("network namespace: ", err)
	}
	t.Cleanup(ns.Remove)
	return ns
}

// Remove unpins the namespace; it may be called again.
func (ns *Namespace) Remove() { _ = unix.Unmount(ns.Path, unix.MNT_DETACH) }

// Do runs f on a thread inside the namespace; goroutines that f starts are not
// inside, sockets that it opens are.
func (ns *Namespace) Do(f func() error) error {
	return thread.Do(func() error {
		fd, err := unix.Open(ns.Path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			return err
		}
		return f()
	})
}

// Dial connects from inside the namespace.
func (ns *Namespace) Dial(d net.Dialer, network, address string) (c net.Conn, err error) {
	err = ns.Do(func() error {
		c, err = d.Dial(network, address)
		return err
	})
	return c, err
}

// Listen listens inside the namespace until the test ends.
func (ns *Namespace) Listen(t testing.TB, network, address string) net.Listener {
	t.Helper()
	var l net.Listener
	err := ns.Do(func() (err error) {
		l, err = net.Listen(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ListenPacket does so for datagrams.
func (ns *Namespace) ListenPacket(t testing.TB, network, address string) net.PacketConn {
	t.Helper()
	var c net.PacketConn
	err := ns.Do(func() (err error) {
		c, err = net.ListenPacket(network, address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// Attach connects the namespace with this process's, as a pod of the address
// whose only neighbour is the gateway, until the test ends.
func (ns *Namespace) Attach(t testing.TB, ip, gateway netip.Addr) {
	t.Helper()
	name := fmt.Sprintf("test%x", ip.AsSlice()[ip.BitLen()/8-2:])
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("attach %v: %v", ip, err)
		}
	}
	check(netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "peer"}))
	link, err := netlink.LinkByName(name)
	check(err)
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	peer, err := netlink.LinkByName("peer")
	check(err)
	f, err := os.Open(ns.Path)
	check(err)
	defer f.Close()
	check(netlink.LinkSetNsFd(peer, int(f.Fd())))
	check(netlink.LinkSetUp(link))
	check(netlink.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: single(ip), Src: gateway.AsSlice(), Scope: netlink.SCOPE_LINK}))
	check(ns.Do(func() error {
		eth, err := netlink.LinkByName("peer")
		if err != nil {
			return err
		}
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		i := eth.Attrs().Index
		return errors.Join(netlink.LinkSetUp(lo), netlink.LinkSetUp(eth),
			netlink.AddrAdd(eth, &netlink.Addr{IPNet: single(ip)}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: i, Dst: single(gateway), Scope: netlink.SCOPE_LINK}),
			netlink.RouteAdd(&netlink.Route{LinkIndex: i, Gw: gateway.AsSlice()}))
	}))
}

// Device makes a link in this process's namespace with the addresses, each
// alone, until the test ends, and returns its index.
func Device(t testing.TB, name string, ips ...netip.Addr) int {
	t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	link := &netlink.Bridge{LinkAttrs: attrs}
	if err := netlink.LinkAdd(link); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = netlink.LinkDel(link) })
	err := netlink.LinkSetUp(link)
	for _, ip := range ips {
		err = errors.Join(err, netlink.AddrAdd(link, &netlink.Addr{IPNet: single(ip)}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return link.Attrs().Index
}

func single(ip netip.Addr) *net.IPNet {
	return &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(ip.BitLen(), ip.BitLen())}
}
