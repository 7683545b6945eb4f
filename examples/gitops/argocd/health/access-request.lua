-- Health of AccessRequest, where somebody keeps requests in Git or takes them off resource.exclusions: one that waits for a person is Suspended.
local phase = obj.status and obj.status.phase or "Pending"
if phase == "Pending" then
  return {status = "Suspended", message = "waiting for an approval"}
end
if phase == "Approved" then
  return {status = "Healthy", message = "approved"}
end
return {status = "Degraded", message = phase}
