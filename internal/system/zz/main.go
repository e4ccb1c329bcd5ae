package main

import (
	"context"; "fmt"; "log/slog"; "net/netip"; "os"; "sync"; "time"; "runtime/pprof"; "runtime"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"clipper/internal/apiserver"; "clipper/internal/auth"; "clipper/internal/client"; "clipper/internal/informer"; "clipper/internal/scheduler"; "clipper/internal/scheme"; "clipper/internal/store/pebble"; "clipper/internal/validate"
)

func check(err error) { if err != nil { panic(err) } }

func main() {
	dir, _ := os.MkdirTemp("/var/tmp", "zz"); defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background()); defer cancel()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	st, err := pebble.Open(pebble.Config{Dir: dir, Logger: log}); check(err)
	rows := scheme.New()
	watched := apiserver.NewCache(st, rows, clock.RealClock{}, log)
	pki, err := auth.LoadOrCreate(dir+"-pki", clock.RealClock{}); check(err); defer os.RemoveAll(dir+"-pki")
	signer, err := auth.NewSigner(pki.TokenKey(), clock.RealClock{}); check(err)
	rules := all{}
	srv, err := apiserver.New(apiserver.Config{Store: st, Table: rows, Cache: watched, Authenticator: auth.NewAuthenticator(auth.AuthenticatorConfig{ClientCA: pki.CAPool(), Authorizer: rules, Clock: clock.RealClock{}, Logger: log}), Authorizer: rules, Signer: signer,
		Validator: validate.New(rows), ServiceCIDR: netip.MustParsePrefix("10.96.0.0/16"), Clock: clock.RealClock{}, Logger: log}); check(err)
	go srv.Run(ctx); check(srv.Ready(ctx))
	k, err := kubernetes.NewForConfig(client.InProcess(srv.Handler(), &user.DefaultInfo{Name: "admin", Groups: []string{"system:masters", "system:authenticated"}}, "bench")); check(err)
	inf := informer.New(rows, informer.FromCache(watched), k)
	s := scheduler.New(scheduler.Config{Client: k, Informers: inf, Logger: log})
	bound := make(chan struct{}, 100000)
	inf.Core().V1().Pods().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{UpdateFunc: func(o, n any) { if o.(*v1.Pod).Spec.NodeName == "" && n.(*v1.Pod).Spec.NodeName != "" { bound <- struct{}{} } }})
	inf.Start(ctx.Done())
	go s.Run(ctx); check(s.Ready(ctx))
	par := func(n int, f func(i int)) { var wg sync.WaitGroup; ch := make(chan int); for range 64 { wg.Go(func() { for i := range ch { f(i) } }) }; for i := range n { ch <- i }; close(ch); wg.Wait() }
	t := time.Now()
	par(1000, func(i int) { n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("n", i)}, Status: v1.NodeStatus{Allocatable: v1.ResourceList{"cpu": resource.MustParse("32"), "memory": resource.MustParse("256Gi"), "pods": resource.MustParse("110")}}}; _, err := k.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); check(err) })
	fmt.Println("1000 nodes", time.Since(t))
	f, _ := os.Create("/tmp/pb/e2e.prof"); pprof.StartCPUProfile(f)
	for range 2 {
	t = time.Now()
	go par(3000, func(i int) { p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", GenerateName: "p-"}, Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "image:v1", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{"cpu": resource.MustParse("100m"), "memory": resource.MustParse("500Mi")}}}}}}; _, err := k.CoreV1().Pods("default").Create(ctx, p, metav1.CreateOptions{}); check(err) })
	for range 3000 { <-bound }
	d := time.Since(t); fmt.Printf("3000 pods created and bound %v: %.0f/s\n", d, 3000/d.Seconds())
	}
	pprof.StopCPUProfile()
	time.Sleep(2*time.Second)
	ev, err := k.EventsV1().Events("default").List(ctx, metav1.ListOptions{}); check(err); fmt.Println("events", len(ev.Items))
	var m runtime.MemStats; runtime.GC(); runtime.ReadMemStats(&m); fmt.Println("heap MB", m.HeapAlloc>>20)
}
type all struct{}
func (all) Authorize(context.Context, auth.Attributes) (bool, string, error) { return true, "", nil }
