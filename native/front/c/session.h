// What oaq.h calls a session.
#pragma once

#include "plan/load.h"

struct oaq_session {
  oaq::LoadedPlan plan;
};
