-- Health of Target, AccessPolicy and IdentityProvider. Without it Argo CD calls every custom resource Healthy, also one that nobody has looked at.
local health = {status = "Progressing", message = "waiting for the operator"}
local status = obj.status
if status == nil or status.observedGeneration == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local ready = nil
for _, condition in ipairs(status.conditions or {}) do
  if condition.type == "Stalled" and condition.status == "True" then
    return {status = "Degraded", message = condition.message}
  end
  if condition.type == "Accepted" and condition.status == "False" then
    return {status = "Degraded", message = condition.reason .. ": " .. condition.message}
  end
  if condition.type == "Ready" then ready = condition end
end
if ready == nil then
  return health
end
if ready.observedGeneration ~= nil and ready.observedGeneration ~= obj.metadata.generation then
  return health
end
if ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
health.message = ready.reason .. ": " .. ready.message
return health
