package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	watchtools "k8s.io/client-go/tools/watch"
)

// Deploy creates the demo's objects, unless they are there, and returns the
// Service's node port once all replicas serve.
func Deploy(ctx context.Context, client kubernetes.Interface, namespace string) (int32, error) {
	_, err := client.AppsV1().Deployments(namespace).Create(ctx, Deployment(namespace), metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return 0, err
	}
	if _, err = client.CoreV1().Services(namespace).Create(ctx, Service(namespace), metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return 0, err
	}
	lw := cache.NewListWatchFromClient(client.AppsV1().RESTClient(), "deployments", namespace, fields.OneTermEqualSelector("metadata.name", Name))
	_, err = watchtools.UntilWithSync(ctx, lw, &appsv1.Deployment{}, nil, func(e watch.Event) (bool, error) {
		d, ok := e.Object.(*appsv1.Deployment)
		return ok && d.Status.ObservedGeneration >= d.Generation && d.Status.AvailableReplicas >= replicas, nil
	})
	if err != nil {
		return 0, fmt.Errorf("the demo's pods do not become ready (%w); `clipper kubectl describe pods -l app=%s` says why", err, Name)
	}
	svc, err := client.CoreV1().Services(namespace).Get(ctx, Name, metav1.GetOptions{})
	if err != nil {
		return 0, err
	}
	if len(svc.Spec.Ports) == 0 || svc.Spec.Ports[0].NodePort == 0 {
		return 0, errors.New("the Service demo is not the demo's own; delete it and try again")
	}
	return svc.Spec.Ports[0].NodePort, nil
}

// Fetch returns what a URL answers, at most 4 KiB of it.
func Fetch(ctx context.Context, url string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	// The address is this machine's own: no proxy has a way to it.
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	return string(body), err
}
