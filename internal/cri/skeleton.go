package cri

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"clipper/internal/cri/image"
)

// maxSkeletons bounds how many sets of mount points are kept.
const maxSkeletons = 1024

// skeleton returns a folder with a place for each of the container's mounts, to
// be the lowest layer of its root filesystem. Without it every container would
// make, and its end remove, those places in its writable layer, which is much
// of what a start costs. Containers with the same mounts share one; what the
// image has hides what is here. It is an economy: without one the start does
// the work, so an empty answer is no failure.
func (r *Runtime) skeleton(config *runtimeapi.ContainerConfig, img *image.Image) string {
	places := map[string]bool{"/proc": true, "/dev": true, "/sys": true, "/etc/hostname": false, "/etc/hosts": false, "/etc/resolv.conf": false}
	for name := range img.Spec.Volumes {
		places[path.Clean("/"+name)] = true
	}
	for _, m := range config.Mounts {
		folder := true
		if m.GetImage().GetImage() == "" {
			st, err := os.Stat(m.HostPath)
			folder = errors.Is(err, os.ErrNotExist) || err == nil && st.IsDir()
		}
		places[path.Clean("/"+m.ContainerPath)] = folder
	}
	var names []string
	for name := range places {
		top, _, _ := strings.Cut(name[1:], "/")
		covered := (top == "proc" || top == "dev" || top == "sys") && name != "/"+top
		if !covered && name != "/" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	sum := sha256.New()
	for _, name := range names {
		sum.Write([]byte(strconv.FormatBool(places[name]) + name + "\x00"))
	}
	dir := r.statePath("skeletons", hex.EncodeToString(sum.Sum(nil)[:12]))
	if fileExists(dir) {
		return dir
	}
	all, err := os.ReadDir(r.statePath("skeletons"))
	if err != nil || len(all) >= maxSkeletons {
		return ""
	}
	// Made aside, so that nobody finds half of it.
	made, err := os.MkdirTemp(r.statePath("skeletons"), "new-")
	if err != nil {
		return ""
	}
	err = os.Chmod(made, 0o755)
	for _, name := range names {
		place := filepath.Join(made, name)
		parent := place
		if !places[name] {
			parent = filepath.Dir(place)
		}
		if err == nil {
			err = os.MkdirAll(parent, 0o755)
		}
		if err == nil && !places[name] {
			err = os.WriteFile(place, nil, 0o644)
		}
	}
	if err == nil {
		err = os.Rename(made, dir)
	}
	if err != nil {
		os.RemoveAll(made)
		if !fileExists(dir) { // else another container was faster
			return ""
		}
	}
	return dir
}
