// A vCenter for tests: govmomi's simulator, made as strict as the real one where it lets everything pass.
//
// Left to itself it answers without a session, grants every privilege, takes a stale changeVersion and starts a second
// reconfiguration while one runs. A second port, for the tests alone, sets what a user may do, holds tasks and counts.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// What a reconfiguration of a device's connection needs (vSphere API reference, ReconfigVM_Task).
var reconfigure = []string{"VirtualMachine.Interact.DeviceConnection", "VirtualMachine.Config.EditDevice"}

// Call is one request that changes something, as it arrived.
type Call struct {
	User   string `json:"user"`
	Object string `json:"object"`
	Method string `json:"method"`
}

// desk is what the tests set, and what they ask for.
type desk struct {
	sync.Mutex
	Privileges map[string][]string `json:"privileges"` // user -> all that it has; who is not named has everything
	Late       bool                `json:"late"`       // say NoPermission by a failed task instead of at once
	Hold       bool                `json:"hold"`       // tasks that start now run until this is false again
	calls      []Call
	open       chan struct{} // closed when nothing is held
}

func (d *desk) granted(user, privilege string) bool {
	d.Lock()
	defer d.Unlock()
	all, limited := d.Privileges[user]
	if !limited {
		return true
	}
	for _, one := range all {
		if one == privilege {
			return true
		}
	}
	return false
}

func (d *desk) held() <-chan struct{} {
	d.Lock()
	defer d.Unlock()
	return d.open
}

func (d *desk) serve(w http.ResponseWriter, r *http.Request) {
	d.Lock()
	defer d.Unlock()
	if r.Method == http.MethodPost {
		d.Privileges, d.Late, d.Hold = nil, false, false
		if err := json.NewDecoder(r.Body).Decode(d); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		select {
		case <-d.open:
			if d.Hold {
				d.open = make(chan struct{})
			}
		default:
			if !d.Hold {
				close(d.open)
			}
		}
		d.calls = nil
	}
	_ = json.NewEncoder(w).Encode(append([]Call{}, d.calls...))
}

// machine stands in front of a virtual machine.
type machine struct {
	*simulator.VirtualMachine
	desk *desk
}

func (m *machine) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) soap.HasFault {
	refuse := func(fault types.BaseMethodFault) soap.HasFault {
		return &methods.ReconfigVM_TaskBody{Fault_: simulator.Fault("", fault)}
	}
	for _, privilege := range reconfigure {
		if m.desk.granted(ctx.Session.UserName, privilege) {
			continue
		}
		fault := &types.NoPermission{Object: &m.Self, PrivilegeId: privilege}
		if !m.desk.Late {
			return refuse(fault)
		}
		return m.failing(ctx, fault)
	}
	if running := m.busy(ctx); running != nil {
		return refuse(&types.TaskInProgress{Task: *running})
	}
	if v := req.Spec.ChangeVersion; v != "" && v != m.Config.ChangeVersion {
		return m.failing(ctx, new(types.ConcurrentAccess))
	}
	for _, change := range req.Spec.DeviceChange {
		spec := change.GetVirtualDeviceConfigSpec()
		c, off := spec.Device.GetVirtualDevice().Connectable, m.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn
		if off && spec.Operation == types.VirtualDeviceConfigSpecOperationEdit && c != nil && c.Connected {
			return refuse(&types.InvalidPowerState{
				RequestedState: types.VirtualMachinePowerStatePoweredOn,
				ExistingState:  m.Runtime.PowerState,
			})
		}
	}
	open := m.desk.held()
	select {
	case <-open:
		return m.VirtualMachine.ReconfigVMTask(ctx, req)
	default:
		return m.later(ctx, req, open)
	}
}

// busy: the reconfiguration of this machine that has not ended.
func (m *machine) busy(ctx *simulator.Context) *types.ManagedObjectReference {
	for _, ref := range m.RecentTask {
		task, ok := ctx.Map.Get(ref).(*simulator.Task)
		if ok && task.Info.DescriptionId == "VirtualMachine.reconfigVm" && task.Info.State == types.TaskInfoStateRunning {
			return &task.Self
		}
	}
	return nil
}

func (m *machine) failing(ctx *simulator.Context, fault types.BaseMethodFault) soap.HasFault {
	task := simulator.CreateTask(m.VirtualMachine, "reconfigVm", func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return nil, fault
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task.Run(ctx)}}
}

// later: a task that runs until the tests let it go, and then does what was asked. Readers are not locked out meanwhile.
func (m *machine) later(ctx *simulator.Context, req *types.ReconfigVM_Task, open <-chan struct{}) soap.HasFault {
	task := simulator.CreateTask(m.VirtualMachine, "reconfigVm", nil)
	say := func(changes ...types.PropertyChange) {
		ctx.Map.AtomicUpdate(simulator.SpoofContext(), task, changes)
	}
	say(types.PropertyChange{Name: "info.startTime", Val: time.Now()},
		types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateRunning})
	go func() {
		<-open
		var inner *simulator.Task
		ctx.Map.WithLock(ctx, m.VirtualMachine, func() {
			body := m.VirtualMachine.ReconfigVMTask(ctx, req).(*methods.ReconfigVM_TaskBody)
			inner = ctx.Map.Get(body.Res.Returnval).(*simulator.Task)
		})
		inner.Wait()
		if inner.Info.Error != nil {
			say(types.PropertyChange{Name: "info.error", Val: *inner.Info.Error})
		}
		say(types.PropertyChange{Name: "info.completeTime", Val: time.Now()},
			types.PropertyChange{Name: "info.state", Val: inner.Info.State})
	}()
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task.Self}}
}

// authorization answers for the privileges that the tests have set.
type authorization struct {
	*simulator.AuthorizationManager
	desk *desk
	user string
}

func (a *authorization) HasPrivilegeOnEntities(req *types.HasPrivilegeOnEntities) soap.HasFault {
	var answer []types.EntityPrivilege
	for _, entity := range req.Entity {
		one := types.EntityPrivilege{Entity: entity}
		for _, id := range req.PrivId {
			granted := types.PrivilegeAvailability{PrivId: id, IsGranted: a.desk.granted(a.user, id)}
			one.PrivAvailability = append(one.PrivAvailability, granted)
		}
		answer = append(answer, one)
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: answer}}
}

// stand refuses a request, or has one of ours answer it.
func (d *desk) stand(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	switch method.Name {
	case "RetrieveServiceContent", "Login":
		return nil, nil
	case "RetrievePropertiesEx", "ContinueRetrievePropertiesEx", "FindByUuid", "HasPrivilegeOnEntities":
	default:
		if ctx.Session != nil {
			d.Lock()
			d.calls = append(d.calls, Call{ctx.Session.UserName, method.This.Value, method.Name})
			d.Unlock()
		}
	}
	if ctx.Session == nil {
		fault := &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &method.This, PrivilegeId: "System.View"}}
		return nil, fault
	}
	// A session's own objects go before those of the inventory, and before what a handler returns. So ours is put there,
	// for this request alone: everything else is to find the simulator's own.
	own := ctx.Session.Registry
	for _, kind := range []string{"VirtualMachine", "AuthorizationManager"} {
		for _, ref := range own.AllReference(kind) {
			own.Remove(ctx, ref.Reference())
		}
	}
	switch object := ctx.Map.Get(method.This).(type) {
	case *simulator.VirtualMachine:
		if method.Name == "ReconfigVM_Task" {
			own.Put(&machine{object, d})
		}
	case *simulator.AuthorizationManager:
		own.Put(&authorization{object, d, ctx.Session.UserName})
	}
	return nil, nil
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8989", "address of the vCenter")
	control := flag.String("control", "127.0.0.1:8990", "address that the tests set and ask things at")
	cert := flag.String("cert", "", "PEM file of the certificate")
	key := flag.String("key", "", "PEM file of its key")
	password := flag.String("password", "pass", "of every user: a test can be somebody without rights")
	flag.Parse()

	model := simulator.VPX()
	model.Datacenter, model.Machine = 2, 2
	if err := model.Create(); err != nil {
		log.Fatal(err)
	}
	defer model.Remove()

	d := &desk{open: make(chan struct{})}
	close(d.open)
	simulator.Map.Handler = d.stand
	simulator.Map.SessionManager().ValidLogin = func(req *types.Login) bool { return req.Password == *password }
	model.Service.Listen = &url.URL{Host: *listen, User: url.UserPassword("anybody", *password)}
	if *cert != "" {
		pair, err := tls.LoadX509KeyPair(*cert, *key)
		if err != nil {
			log.Fatal(err)
		}
		model.Service.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	server := model.Service.NewServer()
	defer server.Close()
	go func() { log.Fatal(http.ListenAndServe(*control, http.HandlerFunc(d.serve))) }()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
