package kubelet

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"google.golang.org/protobuf/proto"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	clocktesting "k8s.io/utils/clock/testing"

	"clipper/internal/kubelet/fakecri"
)

var rewrite = flag.Bool("rewrite", false, "write what came out into the scenarios")

// TestScenarios runs testdata/*.txtar. The archive's comment is a script, one
// command a line (see scenario.command); "objects.yaml" exists from the start,
// other files are named by commands, and "want" is what the script prints.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runScenario(t, file) })
	}
}

type scenario struct {
	*bench
	clock *clocktesting.FakeClock
	began time.Time
	files map[string]string
	out   strings.Builder
	// said is how many calls have been printed.
	said, flushed int
}

func runScenario(t *testing.T, file string) {
	ar, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &scenario{clock: fakeClock(), files: map[string]string{}}
	s.began = s.clock.Now()
	want := -1
	for i, f := range ar.Files {
		s.files[f.Name] = string(f.Data)
		if f.Name == "want" {
			want = i
		}
	}
	s.bench = newBench(t, s.clock, decode(t, s.files["objects.yaml"])...)
	for n, line := range strings.Split(string(ar.Comment), "\n") {
		words := fields(line)
		if len(words) == 0 || strings.HasPrefix(words[0], "#") {
			continue
		}
		if err := s.command(words); err != nil {
			t.Fatalf("%s:%d: %s: %v\n%s", file, n+1, line, err, s.out.String())
		}
	}
	got := strings.ReplaceAll(s.out.String(), s.root, "$ROOT")
	if *rewrite {
		if want < 0 {
			ar.Files = append(ar.Files, txtar.File{Name: "want"})
			want = len(ar.Files) - 1
		}
		ar.Files[want].Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(s.files["want"], got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// fields splits a line at spaces outside of quotes.
func fields(line string) []string {
	var out []string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if q, err := strconv.QuotedPrefix(line); err == nil {
			word, _ := strconv.Unquote(q)
			out, line = append(out, word), line[len(q):]
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		out, line = append(out, word), rest
	}
	return out
}

func decode(t testing.TB, docs string) []runtime.Object {
	var out []runtime.Object
	for _, doc := range strings.Split(docs, "\n---\n") {
		if strings.TrimSpace(doc) == "" {
			continue
		}
		o, _, err := scheme.Codecs.UniversalDeserializer().Decode([]byte(doc), nil, nil)
		if err != nil {
			t.Fatalf("%v in:\n%s", err, doc)
		}
		if p, ok := o.(*v1.Pod); ok {
			complete(p)
		}
		out = append(out, o)
	}
	return out
}

// complete fills in what the API server would have.
func complete(p *v1.Pod) {
	if p.Namespace == "" {
		p.Namespace = "default"
	}
	if p.UID == "" {
		p.UID = types.UID("uid-" + p.Name)
	}
	p.Generation = max(p.Generation, 1)
	p.Spec.NodeName = "node-1"
	if p.Spec.RestartPolicy == "" {
		p.Spec.RestartPolicy = v1.RestartPolicyAlways
	}
	if p.Spec.TerminationGracePeriodSeconds == nil {
		grace := int64(30)
		p.Spec.TerminationGracePeriodSeconds = &grace
	}
	if p.Spec.DNSPolicy == "" {
		p.Spec.DNSPolicy = v1.DNSClusterFirst
	}
	for _, list := range [...][]v1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			c := &list[i]
			if c.Image == "" {
				c.Image = "img:1"
			}
			if c.TerminationMessagePath == "" {
				c.TerminationMessagePath = "/dev/termination-log"
			}
			if c.TerminationMessagePolicy == "" {
				c.TerminationMessagePolicy = v1.TerminationMessageReadFile
			}
			for _, pr := range [...]*v1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
				if pr == nil {
					continue
				}
				pr.PeriodSeconds = max(pr.PeriodSeconds, 1)
				pr.TimeoutSeconds = max(pr.TimeoutSeconds, 1)
				pr.SuccessThreshold = max(pr.SuccessThreshold, 1)
				if pr.FailureThreshold == 0 {
					pr.FailureThreshold = 3
				}
			}
		}
	}
	if p.Status.Phase == "" {
		p.Status.Phase = v1.PodPending
	}
}

func (s *scenario) printf(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// container waits for a container that runs, or has run, by its name.
func (s *scenario) container(name string) (*fakecri.Container, error) {
	if c := s.cri.Find(name); c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("no container %q; calls: %v", name, s.cri.Calls())
}

// command runs one line of the script.
func (s *scenario) command(w []string) error {
	ctx := context.Background()
	arg := func(i int) string {
		if i < len(w) {
			return w[i]
		}
		return ""
	}
	switch w[0] {
	case "start", "restart": // the agent
		s.start()
	case "stop":
		s.stop()
	case "create": // FILE...
		for _, o := range decode(s.t, s.files[arg(1)]) {
			if err := s.put(o, true); err != nil {
				return err
			}
		}
	case "update": // FILE...
		for _, o := range decode(s.t, s.files[arg(1)]) {
			if err := s.put(o, false); err != nil {
				return err
			}
		}
	case "relabel": // POD KEY VALUE
		p := s.pod(arg(1)).DeepCopy()
		p.Labels = map[string]string{arg(2): arg(3)}
		_, err := s.client.CoreV1().Pods("default").Update(ctx, p, metav1.UpdateOptions{})
		return err
	case "missing": // IMAGE: not on the node
		s.images = fakecri.NewImages(w[1:]...)
	case "user": // IMAGE UID-OR-NAME
		im := &runtimeapi.Image{Username: arg(2)}
		if n, err := strconv.ParseInt(arg(2), 10, 64); err == nil {
			im = &runtimeapi.Image{Uid: &runtimeapi.Int64Value{Value: n}}
		}
		s.images.Set(arg(1), im)
	case "pull-fails": // MESSAGE: all pulls; without, none
		if arg(1) == "" {
			s.images.OnPull(nil)
		} else {
			s.images.OnPull(func(string, *runtimeapi.AuthConfig) error { return errors.New(arg(1)) })
		}
	case "call-fails": // CALL NAME MESSAGE: without a call, none
		s.cri.Refuse(func(call, name string) error {
			if call == arg(1) && name == arg(2) {
				return errors.New(arg(3))
			}
			return nil
		})
	case "exec-exits": // CODE OUTPUT
		code, err := strconv.Atoi(arg(1))
		if err != nil {
			return err
		}
		s.cri.OnExec(func(*fakecri.Container, []string) (string, int, error) { return arg(2), code, nil })
	case "stubborn": // CONTAINER
		s.cri.Stubborn[arg(1)] = true
	case "exit": // CONTAINER CODE [REASON]
		c, err := s.container(arg(1))
		if err != nil {
			return err
		}
		code, err := strconv.Atoi(arg(2))
		if err != nil {
			return err
		}
		if arg(3) != "" {
			c.ExitReason(int32(code), arg(3))
		} else {
			c.Exit(int32(code))
		}
	case "print": // CONTAINER TEXT: to its log
		c, err := s.container(arg(1))
		if err != nil {
			return err
		}
		return c.Print(arg(2))
	case "say": // CONTAINER TEXT: as its termination message
		c, err := s.container(arg(1))
		if err != nil {
			return err
		}
		return os.WriteFile(c.Mounted("/dev/termination-log"), []byte(arg(2)), 0o666)
	case "kill-sandbox": // POD
		s.cri.KillSandbox(arg(1))
	case "lose": // the runtime's records, as after a power cut
		s.cri = fakecri.New(s.clock)
	case "advance": // DURATION
		d, err := time.ParseDuration(arg(1))
		if err != nil {
			return err
		}
		s.clock.Step(d)
	case "delete": // POD GRACE
		grace, err := strconv.ParseInt(arg(2), 10, 64)
		if err != nil {
			return err
		}
		s.remove(arg(1), grace)
	case "vanish": // POD: its object, at once
		zero := int64(0)
		return s.client.CoreV1().Pods("default").Delete(ctx, arg(1), metav1.DeleteOptions{GracePeriodSeconds: &zero})
	case "await": // POD CONDITION...
		s.await(arg(1), strings.Join(w[2:], " "), func(p *v1.Pod) bool {
			for _, c := range w[2:] {
				if !holds(p, c) {
					return false
				}
			}
			return true
		})
	case "await-call": // TEXT: until a call after those printed is so
		return s.until(func() bool { return slices.Contains(s.cri.Calls()[s.said:], arg(1)) })
	case "await-event": // REASON TEXT
		return s.until(func() bool {
			list, err := s.client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
			return err == nil && slices.ContainsFunc(list.Items, func(e v1.Event) bool {
				return e.Reason == arg(1) && strings.Contains(e.Message, arg(2))
			})
		})
	case "await-file": // CONTAINER PATH TEXT
		return s.until(func() bool {
			b, err := os.ReadFile(s.inside(arg(1), arg(2)))
			return err == nil && string(b) == arg(3)
		})
	case "await-empty": // no sandbox is left
		return s.until(func() bool { n, _ := s.cri.Left(); return n == 0 })
	case "status": // POD
		s.status(arg(1))
	case "calls": // [sorted]: those since the last time
		all := s.cri.Calls()
		list := all[s.said:]
		if s.said = len(all); arg(1) == "sorted" {
			slices.Sort(list)
		}
		for _, c := range list {
			s.printf("%s", c)
		}
	case "events": // POD
		if err := s.flush(); err != nil {
			return err
		}
		list, err := s.client.CoreV1().Events("").List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		items := slices.DeleteFunc(list.Items, func(e v1.Event) bool { return e.InvolvedObject.Name != arg(1) })
		// Jobs side by side may tell of their ends in any order.
		var lines []string
		for _, e := range items {
			path := e.InvolvedObject.FieldPath
			if path != "" {
				path += ": "
			}
			lines = append(lines, fmt.Sprintf("%s %s x%d %s%s", e.Type, e.Reason, e.Count, path, e.Message))
		}
		slices.Sort(lines)
		s.printf("%s", strings.Join(lines, "\n"))
	case "env": // CONTAINER
		c, err := s.container(arg(1))
		if err != nil {
			return err
		}
		for _, e := range c.Config.Envs {
			s.printf("%s=%s", e.Key, e.Value)
		}
	case "config": // CONTAINER
		c, err := s.container(arg(1))
		if err != nil {
			return err
		}
		s.config(c)
	case "sandbox": // POD
		c := s.cri.Config(arg(1))
		s.printf("hostname=%s cgroup=%s", c.Hostname, c.Linux.CgroupParent)
		s.printf("dns: %s", compact(c.DnsConfig))
		s.printf("namespaces: %s", compact(c.Linux.SecurityContext.NamespaceOptions))
	case "fill": // CONTAINER PATH BYTES
		n, err := strconv.Atoi(arg(3))
		if err != nil {
			return err
		}
		return os.WriteFile(s.inside(arg(1), arg(2)), make([]byte, n), 0o600)
	case "cat": // CONTAINER PATH
		b, err := os.ReadFile(s.inside(arg(1), arg(2)))
		if err != nil {
			return err
		}
		s.printf("%s", strings.TrimSuffix(string(b), "\n"))
	case "ls": // CONTAINER PATH
		s.ls(s.inside(arg(1), arg(2)))
	default:
		return errors.New("unknown command")
	}
	return nil
}

// put writes an object through the client.
func (s *scenario) put(o runtime.Object, create bool) error {
	ctx := context.Background()
	var err error
	switch o := o.(type) {
	case *v1.Pod:
		if create {
			_, err = s.client.CoreV1().Pods(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
			return err
		}
		now := s.pod(o.Name).DeepCopy()
		now.ObjectMeta.Labels, now.ObjectMeta.Annotations, now.Spec, now.Generation = o.Labels, o.Annotations, o.Spec, now.Generation+1
		_, err = s.client.CoreV1().Pods(o.Namespace).Update(ctx, now, metav1.UpdateOptions{})
	case *v1.ConfigMap:
		if create {
			_, err = s.client.CoreV1().ConfigMaps("default").Create(ctx, o, metav1.CreateOptions{})
			return err
		}
		_, err = s.client.CoreV1().ConfigMaps("default").Update(ctx, o, metav1.UpdateOptions{})
	case *v1.Secret:
		if create {
			_, err = s.client.CoreV1().Secrets("default").Create(ctx, o, metav1.CreateOptions{})
			return err
		}
		_, err = s.client.CoreV1().Secrets("default").Update(ctx, o, metav1.UpdateOptions{})
	default:
		err = fmt.Errorf("unknown kind %T", o)
	}
	return err
}

// until waits for something that no watch tells of.
func (s *scenario) until(ok func() bool) error {
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			return fmt.Errorf("never came; calls: %v", s.cri.Calls())
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// flush waits until the events recorded so far are written.
func (s *scenario) flush() error {
	s.flushed++
	text := strconv.Itoa(s.flushed)
	s.k.events.Node(v1.EventTypeNormal, "Flush", text)
	return s.command([]string{"await-event", "Flush", text})
}

// inside returns the node's path of a path in a container.
func (s *scenario) inside(container, path string) string {
	c := s.cri.Find(container)
	if c == nil {
		return ""
	}
	best, host := "", ""
	for _, m := range c.Config.Mounts {
		rest, ok := strings.CutPrefix(path, m.ContainerPath)
		if ok && len(m.ContainerPath) > len(best) && (rest == "" || rest[0] == '/') {
			best, host = m.ContainerPath, m.HostPath+rest
		}
	}
	return host
}

func (s *scenario) ls(dir string) {
	filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			s.printf("%v", err)
			return nil
		}
		rel, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(rel, "..") {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		st, err := os.Stat(path)
		if err == nil {
			s.printf("%s %s", st.Mode(), rel)
		}
		return nil
	})
}

func (s *scenario) config(c *fakecri.Container) {
	l := c.Config.Linux
	s.printf("command=%v args=%v", c.Config.Command, c.Config.Args)
	s.printf("resources: %s", compact(l.Resources))
	security := proto.Clone(l.SecurityContext).(*runtimeapi.LinuxContainerSecurityContext)
	security.MaskedPaths, security.ReadonlyPaths = nil, nil // long, and always the same
	s.printf("security: %s masked=%v", compact(security), len(l.SecurityContext.MaskedPaths) > 0)
	for _, m := range c.Config.Mounts {
		ro := "rw"
		if m.Readonly {
			ro = "ro"
		}
		from := m.HostPath
		if m.Image != nil {
			from = m.Image.Image + " " + m.ImageSubPath
		}
		s.printf("mount %s %s <- %s", m.ContainerPath, ro, from)
	}
}

// compact prints a message on one line, always in the same way.
func compact(m any) string {
	b, err := json.Marshal(m)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// holds tells whether a pod is as a condition of "await" says.
func holds(p *v1.Pod, cond string) bool {
	if cond == "gone" {
		return p == nil
	}
	if p == nil {
		return false
	}
	key, value, _ := strings.Cut(cond, "=")
	statuses := slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses)
	any := func(f func(v1.ContainerStatus) bool) bool { return slices.ContainsFunc(statuses, f) }
	switch key {
	case "phase":
		return string(p.Status.Phase) == value
	case "reason":
		return p.Status.Reason == value
	case "ready":
		return holds(p, "Ready="+value)
	case "waiting":
		return any(func(c v1.ContainerStatus) bool { return c.State.Waiting != nil && c.State.Waiting.Reason == value })
	case "terminated":
		return any(func(c v1.ContainerStatus) bool { return c.State.Terminated != nil && c.Name == value })
	case "running":
		return any(func(c v1.ContainerStatus) bool { return c.State.Running != nil && c.Name == value })
	case "started":
		return any(func(c v1.ContainerStatus) bool { return c.Started != nil && *c.Started && c.Name == value })
	case "restarts":
		return any(func(c v1.ContainerStatus) bool { return strconv.Itoa(int(c.RestartCount)) == value })
	}
	// What is left names a condition of the pod, and its status or reason.
	return slices.ContainsFunc(p.Status.Conditions, func(c v1.PodCondition) bool {
		return string(c.Type) == key && (strings.EqualFold(string(c.Status), value) || c.Reason == value)
	})
}

func (s *scenario) at(t metav1.Time) string {
	if t.IsZero() || t.Unix() == 0 {
		return "-"
	}
	return "+" + t.Sub(s.began).String()
}

// status prints a pod's status in short.
func (s *scenario) status(name string) {
	st := &s.pod(name).Status
	s.printf("%s %s: %s", name, st.Phase, strings.TrimSpace(st.Reason+" "+st.Message))
	for _, c := range st.Conditions {
		if c.Type != v1.PodScheduled {
			s.printf("  %s=%s %s", c.Type, c.Status, strings.TrimSpace(c.Reason+" "+c.Message))
		}
	}
	for _, c := range slices.Concat(st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses) {
		s.printf("  %s ready=%v started=%v restarts=%d: %s; last: %s", c.Name, c.Ready, c.Started != nil && *c.Started, c.RestartCount,
			s.state(c.State), s.state(c.LastTerminationState))
	}
}

func (s *scenario) state(st v1.ContainerState) string {
	switch {
	case st.Running != nil:
		return "running " + s.at(st.Running.StartedAt)
	case st.Waiting != nil:
		return "waiting " + strings.TrimSpace(st.Waiting.Reason+" "+st.Waiting.Message)
	case st.Terminated != nil:
		t := st.Terminated
		return fmt.Sprintf("exit %d %s %s-%s %q", t.ExitCode, t.Reason, s.at(t.StartedAt), s.at(t.FinishedAt), t.Message)
	}
	return "none"
}
