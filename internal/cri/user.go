package cri

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxAccounts bounds how much of an image's passwd or group is read.
const maxAccounts = 4 << 20

// resolveUser works out who a container runs as: the security context's wish,
// or else the image's. Names are looked up in the image.
func resolveUser(root, imageUser string, sc *runtimeapi.LinuxContainerSecurityContext) (*runtimeapi.LinuxContainerUser, error) {
	who := imageUser
	switch {
	case sc.GetRunAsUser() != nil:
		who = strconv.FormatInt(sc.RunAsUser.Value, 10)
	case sc.GetRunAsUsername() != "":
		who = sc.RunAsUsername
	}
	if sc.GetRunAsGroup() != nil {
		name, _, _ := strings.Cut(who, ":")
		who = name + ":" + strconv.FormatInt(sc.RunAsGroup.Value, 10)
	}
	name, group, hasGroup := strings.Cut(who, ":")
	user := &runtimeapi.LinuxContainerUser{}
	account := ""
	uid, numeric := number(name)
	found := false
	if err := eachAccount(root, "/etc/passwd", func(f []string) bool {
		if len(f) < 4 || name == "" && f[2] != "0" {
			return true
		}
		if name != "" && f[0] != name && !(numeric && f[2] == name) {
			return true
		}
		var ok bool
		if user.Uid, ok = number(f[2]); !ok {
			return true
		}
		user.Gid, _ = number(f[3])
		account, found = f[0], true
		return false
	}); err != nil {
		return nil, err
	}
	if !found {
		if name != "" && !numeric {
			return nil, fmt.Errorf("unable to find user %s: no matching entries in passwd file", name)
		}
		user.Uid, user.Gid = uid, 0
	}
	if hasGroup && group != "" {
		gid, numeric := number(group)
		if !numeric {
			found = false
			if err := eachAccount(root, "/etc/group", func(f []string) bool {
				if len(f) >= 3 && f[0] == group {
					gid, found = number(f[2])
					return !found
				}
				return true
			}); err != nil {
				return nil, err
			}
			if !found {
				return nil, fmt.Errorf("unable to find group %s: no matching entries in group file", group)
			}
		}
		user.Gid = gid
	}
	groups := []int64{user.Gid}
	if sc.GetSupplementalGroupsPolicy() != runtimeapi.SupplementalGroupsPolicy_Strict && account != "" {
		if err := eachAccount(root, "/etc/group", func(f []string) bool {
			if len(f) >= 4 && slices.Contains(strings.Split(f[3], ","), account) {
				if gid, ok := number(f[2]); ok {
					groups = append(groups, gid)
				}
			}
			return true
		}); err != nil {
			return nil, err
		}
	}
	groups = append(groups, sc.GetSupplementalGroups()...)
	slices.Sort(groups)
	user.SupplementalGroups = slices.Compact(groups)
	return user, nil
}

// number reads a user or group ID.
func number(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return int64(n), err == nil && n < 1<<31
}

// eachAccount calls use with the fields of each line until it returns false. A
// file that is missing, or is no plain file, has no lines.
func eachAccount(root, path string, use func(fields []string) bool) error {
	f, err := openInRoot(root, path, unix.O_RDONLY|unix.O_NONBLOCK)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return err
	}
	lines := bufio.NewScanner(io.LimitReader(f, maxAccounts))
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if !use(strings.Split(line, ":")) {
			return nil
		}
	}
	return lines.Err()
}
