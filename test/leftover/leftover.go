// Package leftover finds what a cluster left on the machine.
package leftover

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"clipper/test/cgroup"
)

// Of returns a line for everything on this machine that belongs to the local
// cluster of a name: processes, namespaces, mounts, cgroups, links, routes,
// nftables tables and files.
func Of(name string) []string {
	var found []string
	add := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }

	for _, dir := range []string{"/var/lib/clipper", "/run/clipper"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if strings.Contains(e.Name(), name) {
				add("file %s/%s", dir, e.Name())
			}
		}
	}
	for _, dir := range cgroup.Folders(name) {
		add("cgroup %s", dir)
	}
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		if p == fmt.Sprintf("/proc/%d", os.Getpid()) || ended(p) {
			continue
		}
		cmdline, _ := os.ReadFile(p + "/cmdline")
		cgroup, _ := os.ReadFile(p + "/cgroup")
		mounts, _ := os.ReadFile(p + "/mountinfo")
		if strings.Contains(string(cmdline), "/"+name+"/") || strings.Contains(string(cgroup), "/clipper/"+name+"/") {
			add("process %s: %q", p, cmdline)
		} else if strings.Contains(string(mounts), "/"+name+"/") {
			add("process %s: %q holds a mount", p, cmdline)
		}
	}
	links, _ := netlink.LinkList()
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "clp-"+name) {
			add("link %s", l.Attrs().Name)
		}
	}
	if conn, err := nftables.New(); err == nil {
		tables, _ := conn.ListTables()
		for _, t := range tables {
			if strings.Contains(t.Name, name) {
				add("nftables table %s", t.Name)
			}
		}
	}
	return found
}

// ended tells whether a process only waits for its parent, the machine's init,
// to take notice of its end.
func ended(proc string) bool {
	stat, _ := os.ReadFile(proc + "/stat")
	i := bytes.LastIndexByte(stat, ')')
	return i < 0 || bytes.HasPrefix(stat[i:], []byte(") Z"))
}

// Routes returns the machine's IPv4 routes, to compare before and after.
func Routes() []string {
	routes, _ := netlink.RouteList(nil, netlink.FAMILY_V4)
	var all []string
	for _, r := range routes {
		all = append(all, r.String())
	}
	return all
}
