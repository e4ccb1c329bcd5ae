package local

import (
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"clipper/internal/nft/nettest"
)

// playNode makes the test's program a stand-in for a node's process: it says
// where it is and waits until its standard input ends.
const playNode = "CLIPPER_LOCAL_PLAY_NODE"

// playHeadless makes it a process whose first thread has ended: it says so, and
// lives until its standard input ends.
const playHeadless = "CLIPPER_LOCAL_PLAY_HEADLESS"

func headless() {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() { // this is not its first thread
		panic(unix.Exec("/proc/self/exe", []string{"headless"}, os.Environ()))
	}
	go func() {
		for {
			if stat, _ := os.ReadFile("/proc/self/stat"); strings.Contains(string(stat), ") Z ") {
				break
			}
		}
		fmt.Println("headless")
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	unix.Syscall(unix.SYS_EXIT, 0, 0, 0)
}

func TestMain(m *testing.M) {
	if os.Getenv(playHeadless) != "" {
		headless()
	}
	if os.Getenv(playNode) != "" {
		host, _ := os.Hostname()
		fmt.Println(host)
		for _, ns := range nodeNamespaces {
			link, _ := os.Readlink("/proc/self/ns/" + ns.file)
			fmt.Println(link)
		}
		cgroup, _ := os.ReadFile("/proc/self/cgroup")
		fmt.Println(strings.ReplaceAll(string(cgroup), "\n", " "))
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	os.Exit(nettest.Main(m))
}

// Outside of the machine's own /sys there are no cgroups; nettest covers it with
// one that knows the test's links.
var uncoverSys = sync.OnceValue(func() error { return unix.Unmount("/sys", unix.MNT_DETACH) })

// realCgroups returns the machine's hierarchies.
func realCgroups(t *testing.T) *cgroups {
	t.Helper()
	if err := uncoverSys(); err != nil {
		t.Fatal(err)
	}
	cg, err := findCgroups()
	if err != nil {
		t.Fatal(err)
	}
	return cg
}

// testCluster returns a cluster of one node, with folders of its own, whose
// cgroups end with the test.
func testCluster(t *testing.T) *Cluster {
	t.Helper()
	dir := t.TempDir()
	name := fmt.Sprintf("unit-%d", os.Getpid())
	return &Cluster{
		Name: name, Nodes: nodeNames(name, 1), Block: netip.MustParsePrefix("10.199.0.0/16"),
		dirs: Dirs{State: dir + "/state", Run: dir + "/run"},
	}
}
